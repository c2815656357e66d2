"""SQLite: a file."""

import sqlite3
from pathlib import Path

from .database import Database


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
