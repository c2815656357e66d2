"""PostgreSQL: a server on a port of its own."""

import getpass
import glob
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg

from ..addresses import in_url
from ..process import Process, free_port
from ..waiting import until
from .database import Database


class Postgres(Database):
    kind, schema, serial = "postgres", "postgres.sql", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    lost = (psycopg.OperationalError, psycopg.InterfaceError)

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
            self.remote_url = self.url.replace("127.0.0.1", in_url(host))
        self._initdb()
        settings = {"max_connections": "300", "fsync": "off"} if shared else {}
        if tls:
            settings |= self._certificates(Path(tls))
        with open(self.data / "pg_hba.conf", "a", encoding="ascii") as rules:
            if tls:
                rules.write("hostssl all all all scram-sha-256 clientcert=verify-ca\n")
            elif host:
                rules.write("host all all all scram-sha-256\n")
        self.settings = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._start()

    def _initdb(self):
        """An empty cluster of databases in `data`."""
        password = self.directory / "password"
        password.write_text("secret\n", encoding="ascii")
        self._own(self.directory, password)
        options = ["--username=jobqueue", f"--pwfile={password}", "--auth=scram-sha-256", "--no-sync"]
        options += ["--encoding=UTF8", "--locale=C.UTF-8", f"--pgdata={self.data}"]
        subprocess.run([*self._account(), self.bin / "initdb", *options], check=True, capture_output=True)

    def _certificates(self, source):
        """Copies them to where PostgreSQL may read them; returns the settings that name them."""
        for name in ("ca.crt", "server.crt", "server.key"):
            shutil.copy2(source / name, self.data / name)
            (self.data / name).chmod(0o600)
            self._own(self.data / name)
        return {"ssl": "on", "ssl_ca_file": "ca.crt", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key"}

    @staticmethod
    def _account():
        """PostgreSQL refuses to run as root."""
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []

    @staticmethod
    def _own(*paths):
        """PostgreSQL's account owns the paths, and may reach the first of them."""
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            for path in paths:
                os.chown(path, owner.pw_uid, owner.pw_gid)
            for parent in paths[0].parents:
                if parent.owner() == getpass.getuser() and parent != Path("/"):
                    parent.chmod(parent.stat().st_mode | 0o011)

    def _start(self):
        where = ["-D", self.data, "-p", self.port, "-h", ",".join(self.listen), "-k", self.directory]
        self.process = Process(
            [*self._account(), self.bin / "postgres", *where, *self.settings],
            self.directory.parent / f"{self.directory.name}.log",
            cwd="/",
        )
        until(self._answers, lambda: f"PostgreSQL answers\n{self.process.output()}", seconds=60)

    def connect(self):
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
