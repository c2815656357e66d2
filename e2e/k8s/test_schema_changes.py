"""A table that changes under running workers: no job is lost, a condition says why, and work resumes."""

import pytest

from e2e.harness import backlog, companies
from e2e.harness.companies import Expected
from e2e.harness.manifests import manual
from e2e.harness.waiting import until

pytestmark = pytest.mark.usefixtures("operator")

BREAKS = {
    # what is done, how it is put right, what the condition names
    "table": (
        ["ALTER TABLE stockholder RENAME TO elsewhere"],
        ["ALTER TABLE elsewhere RENAME TO stockholder"],
        "stockholder",
    ),
    "column": (
        ["ALTER TABLE stockholder RENAME COLUMN stock_name TO elsewhere"],
        ["ALTER TABLE stockholder RENAME COLUMN elsewhere TO stock_name"],
        "stock_name",
    ),
    "new column without a default": (
        ["ALTER TABLE stockholder ADD COLUMN extra INTEGER NOT NULL{default}", *("{no default}",)],
        ["ALTER TABLE stockholder DROP COLUMN extra"],
        "extra",
    ),
}


def statements(kind, wanted):
    """MariaDB fills a new column by itself; PostgreSQL wants a default for the rows that are there."""
    words = {"{default}": " DEFAULT 0", "{no default}": "ALTER TABLE stockholder ALTER COLUMN extra DROP DEFAULT"}
    for word, value in words.items():
        wanted = [each.replace(word, value) for each in wanted]
    return wanted


@pytest.mark.parametrize("database", ["postgres", "mariadb"], indirect=True)
@pytest.mark.parametrize("change", BREAKS)
def test_a_schema_that_changes_under_running_workers(namespace, database, warehouse, redis, producer, change):
    broken, mended, named = BREAKS[change]
    namespace.apply(manual(2, worker={"batchSize": 20}))
    namespace.runs(2)
    lines = companies.make(600, seed=15)
    expected = Expected(lines)
    producer.enqueue(lines[:300])
    until(lambda: database.counts()[0] > 0, "they work", 30, 0.05)
    database.execute(*statements(database.kind, broken))
    producer.enqueue(lines[300:], first=300)
    said = namespace.reaches("Stalled", "True", "InvalidRecipe", within=30)
    assert named in said["message"], said["message"]
    namespace.reaches("WorkersAvailable", "False", within=30)
    assert backlog.read(redis).failed == 0, "no job is at fault"
    database.execute(*mended)
    namespace.reaches("Stalled", "False", within=30)
    namespace.reaches("Ready", "True", within=30)
    until(lambda: backlog.drained(redis), lambda: f"{backlog.read(redis)} {database.counts()}", 60, 0.2)
    assert backlog.read(redis).failed == 0
    assert database.counts()[:2] == (expected.companies, expected.partners)
    assert database.companies() == expected.rows
