"""The smallest tables in which effects can be counted, and the recipe that fills them.

Each record becomes one row with its source, job and version, and a row for each of its parts.
"""

import json

COLUMNS = "source VARCHAR(40) NOT NULL, job VARCHAR(40) NOT NULL, version BIGINT NOT NULL"


def record(job, version=1):
    """The text of a record; how many parts it has follows from both."""
    return json.dumps({"job": job, "version": version, "parts": list(range(1, 1 + parts_of(job, version)))})


def parts_of(job, version=1):
    return (sum(job.encode()) + version) % 4


class Effects:
    """One pair of tables."""

    def __init__(self, database, name="effect"):
        self.database, self.name = database, name
        database.execute(
            f"CREATE TABLE {name} (id {database.serial}, {COLUMNS})",
            f"CREATE TABLE {name}_part (id {database.serial}, effect_id BIGINT NOT NULL, number BIGINT NOT NULL)",
        )

    def recipe(self, source, text="job.args[0]"):
        """`text` is where the record is in a job."""
        columns = {"source": f'"{source}"', "job": "record.job", "version": "record.version"}
        part = {
            "table": f"{self.name}_part",
            "forEach": "record.parts",
            "columns": {"effect_id": "parent.id", "number": "item"},
        }
        return [{"record": text, "tables": [{"table": self.name, "columns": columns, "children": [part]}]}]

    def count(self):
        """How many there are; None while the database is away."""
        try:
            return self.database.query(f"SELECT count(*) FROM {self.name}")[0][0]
        except self.database.lost:
            return None

    def rows(self):
        """(source, job, version) in the order of their ids; asserts that each has its own parts and no other."""
        found = self.database.query(
            "SELECT e.source, e.job, e.version, count(p.id), count(DISTINCT p.number), coalesce(max(p.number), 0)"
            f" FROM {self.name} e LEFT JOIN {self.name}_part p ON p.effect_id = e.id"
            " GROUP BY e.id, e.source, e.job, e.version ORDER BY e.id"
        )
        for _, job, version, *parts in found:
            assert parts == [parts_of(job, version)] * 3, (job, version, parts)
        alone = self.database.query(
            f"SELECT count(*) FROM {self.name}_part WHERE effect_id NOT IN (SELECT id FROM {self.name})"
        )
        assert alone == [(0,)], "parts without their effect"
        return [row[:3] for row in found]
