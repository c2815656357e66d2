"""Python's `bytes` as arguments: the same bytes in a binary column, whether they happen to be UTF-8 or not."""

import pytest
from rq.job import JobStatus

pytestmark = pytest.mark.ours
RECIPE = [
    {
        "record": "job.kwargs",
        "tables": [{"table": "digests", "columns": {"k": "record.k", "v": "record.v", "t": "text(record.t)"}}],
    }
]
DIGESTS = {"raw": "deadbeef", "utf8": "c3a9c3a9", "ascii": "41424344", "empty": ""}


@pytest.fixture
def digests(database):
    connection = database.connect()
    connection.execute("CREATE TABLE digests (k TEXT, v BLOB, t TEXT)")
    connection.commit()
    yield connection
    connection.close()


def test_bytes_arrive_as_they_are(queue, workers, digests):
    jobs = [
        queue.enqueue("digests.keep", k=name, v=bytes.fromhex(digits), t=b"caf\xc3\xa9")
        for name, digits in DIGESTS.items()
    ]
    jobs.append(queue.enqueue("digests.keep", k="array", v=bytearray(b"\x00\xff"), t=None))
    workers.start(ingest=RECIPE)
    for job in jobs:
        workers.reaches(job, JobStatus.FINISHED)
    stored = dict(digests.execute("SELECT k, typeof(v) || ' ' || lower(hex(v)) FROM digests"))
    assert stored == {**{name: f"blob {digits}" for name, digits in DIGESTS.items()}, "array": "blob 00ff"}
    assert {text for (text,) in digests.execute("SELECT DISTINCT t FROM digests")} == {"café", None}


def test_bytes_into_a_text_column_fail_by_name(queue, workers, digests):
    job = queue.enqueue("digests.keep", k=b"ab", v=None, t=None)
    workers.start(ingest=RECIPE)
    workers.reaches(job, JobStatus.FAILED)
    assert "digests.k: 2 bytes, which only a binary column takes" in job.latest_result().exc_string
    assert digests.execute("SELECT count(*) FROM digests").fetchone() == (0,)
