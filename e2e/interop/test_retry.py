"""rq's `Retry`: as often and as late as the producer said, and the failed registry only after the last."""

import pytest
from rq import Retry
from rq.job import Job, JobStatus
from rq.results import Result

from e2e.harness.companies import FUNCTION, Expected
from e2e.harness.waiting import until


def results(job):
    return [result.type for result in job.results()]


def mended(queue, line):
    """The data field of a job with that line."""
    return Job.create(FUNCTION, args=(line,), id="mended", connection=queue.connection).to_dict()["data"]


def test_retries_without_an_interval(queue, redis, workers, worker, lines):
    job = queue.enqueue(FUNCTION, lines[0][:80], retry=Retry(max=2))
    workers.reaches(job, JobStatus.FAILED)
    assert job.retries_left == 0
    assert job.id in queue.failed_job_registry
    assert job.latest_result().type == Result.Type.FAILED


@pytest.mark.ours
def test_every_attempt_leaves_its_reason(queue, workers, worker, lines):
    job = queue.enqueue(FUNCTION, lines[0][:80], retry=Retry(max=2))
    workers.reaches(job, JobStatus.FAILED)
    assert results(job) == [Result.Type.FAILED] * 3


def test_retries_with_intervals(queue, redis, workers, worker, lines):
    job = queue.enqueue(FUNCTION, lines[1][:80], retry=Retry(max=2, interval=[1, 2]))
    until(
        lambda: job.get_status(refresh=True) == JobStatus.SCHEDULED, lambda: f"it waits\n{workers.log()}", pause=0.005
    )
    assert job.id not in queue.failed_job_registry
    workers.reaches(job, JobStatus.FAILED)
    assert job.retries_left == 0
    assert job.id not in queue.scheduled_job_registry
    assert (job.ended_at - job.created_at).total_seconds() > 2


def test_a_retry_that_succeeds(queue, redis, workers, worker, database, lines):
    """Wrong at first; mended while it waits for its second attempt."""
    job = queue.enqueue(FUNCTION, lines[2][:80], retry=Retry(max=1, interval=3))
    # rq 2.12 writes the status alone first, and the whole record, data included, after it.
    until(
        lambda: job.get_status(refresh=True) == JobStatus.SCHEDULED and redis.hget(job.key, "retries_left") == b"0",
        lambda: f"it waits\n{workers.log()}",
        pause=0.005,
    )
    redis.hset(job.key, "data", mended(queue, lines[2]))
    workers.reaches(job, JobStatus.FINISHED)
    assert database.companies() == Expected(lines[2:3]).rows
    assert job.latest_result().type == Result.Type.SUCCESSFUL


def test_failed_attempts_count_at_the_worker(queue, redis, workers, worker, lines):
    from rq import Worker

    job = queue.enqueue(FUNCTION, lines[3][:80], retry=Retry(max=2))
    workers.reaches(job, JobStatus.FAILED)
    until(
        lambda: sum(each.failed_job_count for each in Worker.all(connection=redis)) == 3,
        "three failed attempts are counted",
        10,
    )


def test_result_ttl_zero_leaves_nothing_of_failed_attempts(queue, redis, workers, worker, database, lines):
    job = queue.enqueue(FUNCTION, lines[4][:80], result_ttl=0, retry=Retry(max=1, interval=2))
    until(
        lambda: job.get_status(refresh=True) == JobStatus.SCHEDULED and redis.hget(job.key, "retries_left") == b"0",
        lambda: f"it waits\n{workers.log()}",
        pause=0.005,
    )
    redis.hset(job.key, "data", mended(queue, lines[4]))
    until(
        lambda: not redis.keys(f"rq:*{job.id}*"),
        lambda: f"no key is left: {redis.keys(f'rq:*{job.id}*')}\n{workers.log()}",
    )
    assert database.companies() == Expected(lines[4:5]).rows


@pytest.mark.ours
@pytest.mark.parametrize("ttl", [{}, {"failure_ttl": 0}], ids=["failures kept", "failures not kept"])
def test_result_ttl_zero_leaves_nothing_of_our_own_retries(ttl, queue, redis, workers, database):
    """The parent of a row comes after it: the first attempts fail."""
    for table in (
        "parents (id INTEGER PRIMARY KEY)",
        "children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents (id))",
    ):
        database.query(f"CREATE TABLE {table}")
    workers.start(
        ingest=[{"record": "job.args[0]", "tables": [{"table": "children", "columns": {"parent": "record.parent"}}]}]
    )
    job = queue.enqueue(FUNCTION, '{"parent": 7}', result_ttl=0, **ttl)
    until(lambda: redis.exists(f"rq:results:{job.id}"), lambda: f"an attempt fails\n{workers.log()}")
    connection = database.connect()
    with connection:
        connection.execute("INSERT INTO parents VALUES (7)")
    connection.close()
    until(
        lambda: not redis.keys(f"rq:*{job.id}*"),
        lambda: f"no key is left: {redis.keys(f'rq:*{job.id}*')}\n{workers.log()}",
    )
    assert database.query("SELECT parent FROM children") == [(7,)]
