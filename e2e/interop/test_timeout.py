"""`job_timeout` where the database does not answer, and where a worker computes for ever."""

import json
import signal
import time

import pytest
from rq.job import JobStatus

from e2e.harness.companies import FUNCTION
from e2e.harness.waiting import until

pytestmark = pytest.mark.ours

# Squares the length of a list.
RECIPE = [
    {
        "record": "job.args[0]",
        "tables": [
            {
                "table": "notes",
                "columns": {"text": "string(size(record.list.filter(x, record.list.exists(y, y == x + 1000000))))"},
            }
        ],
    }
]


def test_what_computes_at_the_end_of_a_worker_is_given_back(queue, workers, database):
    database.query("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)")
    worker = workers.start(ingest=RECIPE, worker={"concurrency": 1, "drainSeconds": 2})
    slow = queue.enqueue(FUNCTION, json.dumps({"list": list(range(100_000))}), job_timeout=600)
    workers.reaches(slow, JobStatus.STARTED)
    began = time.monotonic()
    worker.send(signal.SIGTERM)
    until(lambda: not worker.alive(), lambda: f"the worker ends\n{workers.log()}", seconds=10)
    assert time.monotonic() - began < 8
    assert worker.wait() == 0
    assert slow.get_status(refresh=True) == JobStatus.QUEUED
    assert queue.get_job_ids() == [slow.id]
    assert queue.started_job_registry.get_job_ids(cleanup=False) == []


def test_a_database_that_does_not_answer(queue, workers, lock, written, quiet, lines):
    """Who has less time may fail or wait, as the database is seen as slow or as away; the others wait, and nothing is
    done twice."""
    workers.start(retry={"maxAttempts": 1})
    held = lock()
    hasty = queue.enqueue(FUNCTION, lines[0], job_timeout=2)
    patient = [queue.enqueue(FUNCTION, line, job_timeout=600) for line in lines[1:6]]
    until(lambda: "WARN" in workers.log(), lambda: f"the worker has waited for long\n{workers.log()}")
    assert all(job.get_status(refresh=True) in (JobStatus.QUEUED, JobStatus.STARTED) for job in patient)
    held.execute("ROLLBACK")
    for job in patient:
        workers.reaches(job, JobStatus.FINISHED)
    quiet()
    if hasty.get_status(refresh=True) == JobStatus.FAILED:
        assert "timeout" in hasty.latest_result().exc_string.lower()
        written(lines[1:6])
    else:
        workers.reaches(hasty, JobStatus.FINISHED)
        written(lines[:6])
    assert queue.failed_job_registry.get_job_ids() == ([hasty.id] if hasty.is_failed else [])
