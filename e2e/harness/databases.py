"""The three databases of the companies example, real ones: started, restarted, and asked what they hold."""

import copy
import getpass
import glob
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path

from . import ROOT
from .process import Process, free_port
from .waiting import until

SCHEMA = ROOT / "examples" / "companies" / "schema"
KINDS = ("sqlite", "postgres", "mariadb")


def start(kind, directory, host=None, tls=None, shared=False):
    """A fresh database of that kind with the example's two tables; a server also listens at `host`, for pods. `tls`
    is a directory of certificates (harness.certificates): whoever comes from elsewhere must then bring one. One that
    is `shared` by many tests takes more connections, and does not wait for the disk: no test takes its power away."""
    if kind == "sqlite":
        database = Sqlite(directory)
    else:
        database = {"postgres": Postgres, "mariadb": Mariadb}[kind](directory, host, tls, shared)
    database.create_tables()
    return database


class Database:
    """What the tests ask of any of them. `connect()` gives a DB-API connection."""

    kind = ""
    url = ""
    serial = ""  # the type of a column that numbers the rows
    process = None
    lost = ()  # what a query raises when the connection is gone
    _kept = None  # the connection of `query`

    def connect(self):
        raise NotImplementedError

    def __getstate__(self):
        """For other processes (`harness.shared`): they use the server, and cannot restart or stop it."""
        return {**self.__dict__, "process": None, "_kept": None}

    def restart(self):
        """Killed as by a power cut, and started again."""

    def stop(self):
        pass

    def sibling(self, name):
        """Another database of that name on the same server, with the example's tables. It is not to be stopped."""
        self.create_database(name)
        other = copy.copy(self)
        other.name = name
        other.url, other.remote_url = (
            url and url.rsplit("/", 1)[0] + f"/{name}" for url in (self.url, self.remote_url)
        )
        other.create_tables()
        return other

    def create_database(self, name):
        raise NotImplementedError

    def create_tables(self):
        connection = self.connect()
        try:
            cursor = connection.cursor()
            for statement in (SCHEMA / self.schema).read_text(encoding="utf-8").split(";"):
                if statement.strip():
                    cursor.execute(statement)
            connection.commit()
        finally:
            connection.close()

    def query(self, sql):
        """The rows; over one connection that is kept, because tests ask ten times a second and a login is dear."""
        try:
            return self._ask(sql)
        except self.lost:  # the server has been restarted since the last question
            return self._ask(sql)

    def _ask(self, sql):
        try:
            self._kept = self._kept or self.connect()
            cursor = self._kept.cursor()
            cursor.execute(sql)
            rows = [tuple(row) for row in cursor.fetchall()]
            self._kept.commit()  # so that the next question sees what others have written since
            return rows
        except BaseException:
            self.hang_up()
            raise

    def hang_up(self):
        """Ends the connection of `query`."""
        if self._kept:
            self._kept.close()
        self._kept = None

    def execute(self, *statements):
        connection = self.connect()
        try:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            connection.commit()
        finally:
            connection.close()

    def counts(self):
        """Companies, partners, and ledger entries (0 where there is no ledger yet)."""
        companies = self.query("SELECT count(*) FROM company_regist_info")[0][0]
        partners = self.query("SELECT count(*) FROM stockholder")[0][0]
        return companies, partners, self.ledger_entries()

    def ledger_entries(self):
        if not self.has_table("jobqueue_ledger"):
            return 0
        return self.query("SELECT count(*) FROM jobqueue_ledger")[0][0]

    def tidy(self):
        """Does now what the database would otherwise do in the middle of a measurement."""

    def has_table(self, name):
        return bool(self.query(f"SELECT 1 FROM information_schema.tables WHERE table_name = '{name}'"))

    def companies(self):
        """What tells one company from another, with the number of its partners, in a form that can be compared."""
        return sorted(
            self.query(
                "SELECT c.reg_num, c.name, count(s.id) FROM company_regist_info c"
                " LEFT JOIN stockholder s ON s.company_id = c.id GROUP BY c.id, c.reg_num, c.name"
            )
        )

    def empty(self):
        """Both tables and the ledger without a row."""
        self.execute(
            "DELETE FROM stockholder",
            "DELETE FROM company_regist_info",
            *(["DELETE FROM jobqueue_ledger"] if self.has_table("jobqueue_ledger") else []),
        )


class Sqlite(Database):
    kind, schema, serial = "sqlite", "sqlite.sql", "INTEGER PRIMARY KEY AUTOINCREMENT"

    def __init__(self, directory):
        Path(directory).mkdir(parents=True, exist_ok=True)
        self.path = Path(directory) / "companies.sqlite"
        self.url = f"sqlite:{self.path}"
        self.query("PRAGMA journal_mode = WAL")

    def connect(self):
        return sqlite3.connect(self.path, timeout=60)

    def _ask(self, sql):
        """Not over a kept connection: in the file it would be one that the workers notice."""
        connection = self.connect()
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def tidy(self):
        self.query("PRAGMA wal_checkpoint(TRUNCATE)")

    def has_table(self, name):
        return bool(self.query(f"SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '{name}'"))


class Postgres(Database):
    kind, schema, serial = "postgres", "postgres.sql", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"

    def __init__(self, directory, host=None, tls=None, shared=False):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
        binary = found[-1] if found else shutil.which("postgres")
        assert binary, "PostgreSQL is not installed"
        self.bin = Path(binary).parent
        self.directory = Path(directory).resolve()
        self.data = self.directory / "data"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"postgres://jobqueue:secret@127.0.0.1:{self.port}/postgres"
        self.listen, self.remote_url = ["127.0.0.1"], None
        if host:
            self.listen.append(host)
            self.remote_url = self.url.replace("127.0.0.1", host)
        password = self.directory / "password"
        password.write_text("secret\n", encoding="ascii")
        self._own(self.directory, password)
        subprocess.run(
            [
                *self._account(),
                self.bin / "initdb",
                "-D",
                self.data,
                "-U",
                "jobqueue",
                "-A",
                "scram-sha-256",
                "--no-sync",
                "--pwfile",
                password,
                "-E",
                "UTF8",
                "--locale",
                "C.UTF-8",
            ],
            check=True,
            capture_output=True,
        )
        with open(self.data / "pg_hba.conf", "a", encoding="ascii") as rules:
            if tls:
                rules.write("hostssl all all all scram-sha-256 clientcert=verify-ca\n")
            elif host:
                rules.write("host all all all scram-sha-256\n")
        settings = {"max_connections": "300", "fsync": "off"} if shared else {}
        if tls:
            for name in ("ca.crt", "server.crt", "server.key"):
                shutil.copy2(Path(tls) / name, self.data / name)
                (self.data / name).chmod(0o600)
                self._own(self.data / name)
            settings |= {
                "ssl": "on",
                "ssl_ca_file": "ca.crt",
                "ssl_cert_file": "server.crt",
                "ssl_key_file": "server.key",
            }
        self.settings = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._start()

    @staticmethod
    def _account():
        """PostgreSQL refuses to run as root."""
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []

    @staticmethod
    def _own(*paths):
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            for path in paths:
                os.chown(path, owner.pw_uid, owner.pw_gid)
            for parent in paths[0].parents:
                if parent.owner() == getpass.getuser() and parent != Path("/"):
                    parent.chmod(parent.stat().st_mode | 0o011)

    def _start(self):
        self.process = Process(
            [
                *self._account(),
                self.bin / "postgres",
                "-D",
                self.data,
                "-p",
                self.port,
                "-h",
                ",".join(self.listen),
                "-k",
                self.directory,
                *self.settings,
            ],
            self.directory.parent / f"{self.directory.name}.log",
            cwd="/",
        )
        until(self._answers, lambda: f"PostgreSQL answers\n{self.process.output()}", seconds=60)

    @property
    def lost(self):
        import psycopg

        return psycopg.OperationalError, psycopg.InterfaceError

    def connect(self):
        import psycopg

        return psycopg.connect(self.url, connect_timeout=5)

    def create_database(self, name):
        connection = self.connect()
        connection.autocommit = True
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        connection.close()

    def tidy(self):
        connection = self.connect()
        connection.autocommit = True
        for statement in ("VACUUM ANALYZE", "CHECKPOINT"):
            connection.execute(statement)
        connection.close()

    def _answers(self):
        import psycopg

        try:
            self.query("SELECT 1")
            return True
        except psycopg.OperationalError:
            return False

    def restart(self):
        self.process.kill()
        self._start()

    def stop(self):
        """At once, whoever is connected; nobody wants the data any more."""
        self.process.send(signal.SIGQUIT)
        self.process.stop()


class Mariadb(Database):
    kind, schema, serial, name = "mariadb", "mysql.sql", "BIGINT AUTO_INCREMENT PRIMARY KEY", "companies"

    def __init__(self, directory, host=None, tls=None, shared=False):
        self.binary = shutil.which("mariadbd") or shutil.which("mysqld") or "/usr/sbin/mariadbd"
        self.directory = Path(directory).resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data = self.directory / "data"
        self.port = free_port()
        self.url = f"mysql://jobqueue:secret@127.0.0.1:{self.port}/companies"
        self.settings = (
            [
                f"--ssl-{option}={Path(tls) / file}"
                for option, file in (("ca", "ca.crt"), ("cert", "server.crt"), ("key", "server.key"))
            ]
            if tls
            else []
        )
        self.settings += ["--max-connections=300", "--innodb-flush-log-at-trx-commit=0"] if shared else []
        self.demand = " REQUIRE X509" if tls else ""
        self.listen, self.remote_url = "127.0.0.1", None
        if host:
            # One address or all: an older MariaDB knows no list.
            self.listen, self.remote_url = "0.0.0.0", self.url.replace("127.0.0.1", host)
        subprocess.run(
            [
                "mariadb-install-db",
                "--no-defaults",
                f"--datadir={self.data}",
                f"--user={getpass.getuser()}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                f"--tmpdir={self.data.parent}",
            ],  # in one they may meet
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

    @property
    def lost(self):
        import pymysql

        return pymysql.err.OperationalError, pymysql.err.InterfaceError

    def connect(self):
        import pymysql

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
        import pymysql

        with pymysql.connect(unix_socket=str(self._socket), user="root") as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def _answers(self):
        import pymysql

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
