"""MariaDB: a server on a port of its own."""

import getpass
import shutil
import subprocess
from pathlib import Path

import pymysql

from ..addresses import in_url
from ..process import Process, free_port
from ..waiting import until
from .database import Database


class Mariadb(Database):
    kind, schema, serial, name = "mariadb", "mysql.sql", "BIGINT AUTO_INCREMENT PRIMARY KEY", "companies"
    lost = (pymysql.err.OperationalError, pymysql.err.InterfaceError)

    def __init__(self, directory, host=None, tls=None, shared=False):
        self.binary = shutil.which("mariadbd") or shutil.which("mysqld") or "/usr/sbin/mariadbd"
        self.directory = Path(directory).resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data = self.directory / "data"
        self.port = free_port()
        self.url = f"mysql://jobqueue:secret@127.0.0.1:{self.port}/companies"
        self.settings = ["--max-connections=300", "--innodb-flush-log-at-trx-commit=0"] if shared else []
        if tls:
            files = {"ca": "ca.crt", "cert": "server.crt", "key": "server.key"}
            self.settings += [f"--ssl-{option}={Path(tls) / file}" for option, file in files.items()]
        self.demand = " REQUIRE X509" if tls else ""
        self.listen, self.remote_url = "127.0.0.1", None
        if host:
            # One address or all, of both families: an older MariaDB knows no list.
            self.listen = "*"
            self.remote_url = self.url.replace("127.0.0.1", in_url(host))
        subprocess.run(
            [
                "mariadb-install-db",
                "--no-defaults",
                f"--datadir={self.data}",
                f"--user={getpass.getuser()}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                f"--tmpdir={self.data.parent}",  # several of these collide in a shared one
            ],
            check=True,
            capture_output=True,
        )
        self._start()
        self._setup()

    def _setup(self):
        # Everywhere: tests make databases of their own.
        self._as_root(
            "CREATE DATABASE companies CHARACTER SET utf8mb4",
            f"CREATE USER jobqueue@'%' IDENTIFIED BY 'secret'{self.demand}",
            "GRANT ALL ON *.* TO jobqueue@'%'",
            "CREATE USER jobqueue@127.0.0.1 IDENTIFIED BY 'secret'",
            "GRANT ALL ON *.* TO jobqueue@127.0.0.1",
        )

    @property
    def _socket(self):
        return self.directory / "s"

    def _start(self):
        self.process = Process(
            [
                self.binary,
                "--no-defaults",
                f"--user={getpass.getuser()}",
                f"--datadir={self.data}",
                f"--port={self.port}",
                f"--bind-address={self.listen}",
                f"--socket={self._socket}",
                "--skip-name-resolve",
                "--innodb-flush-log-at-trx-commit=1",
                "--innodb-buffer-pool-size=256M",
                *self.settings,
            ],
            self.directory / "mariadb.log",
        )
        until(self._answers, lambda: f"MariaDB answers\n{self.process.output()}", seconds=60)

    def connect(self):
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user="jobqueue",
            password="secret",
            database=self.name,
            charset="utf8mb4",
            connect_timeout=5,
        )

    def create_database(self, name):
        self._as_root(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")

    def _as_root(self, *statements):
        with pymysql.connect(unix_socket=str(self._socket), user="root") as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def _answers(self):
        try:
            with pymysql.connect(unix_socket=str(self._socket), user="root", connect_timeout=2):
                return True
        except pymysql.err.OperationalError:
            return False

    def has_table(self, name):
        return bool(self.query(f"SHOW TABLES LIKE '{name}'"))

    def restart(self):
        self.process.kill()
        self._start()

    def stop(self):
        self.process.stop()
