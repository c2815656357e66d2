"""What the tests ask of a database, of whichever kind."""

import copy

from .. import ROOT

SCHEMA = ROOT / "examples" / "companies" / "schema"


class Database:
    """One of the three kinds. `connect()` gives a DB-API connection."""

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
