"""Ids on the list whose job is gone or no longer to be run."""

import pytest
from rq.job import Job, JobStatus

from e2e.harness.companies import FUNCTION, Expected
from e2e.harness.waiting import until


def test_a_job_past_its_ttl_is_skipped(queue, redis, workers, database, lines):
    gone = queue.enqueue(FUNCTION, lines[0], ttl=1)
    until(lambda: not Job.exists(gone.id, connection=redis), "the job expires")
    following = queue.enqueue(FUNCTION, lines[1])
    workers.start()
    workers.reaches(following, JobStatus.FINISHED)
    assert database.companies() == Expected(lines[1:2]).rows
    assert queue.count == 0


@pytest.mark.ours
def test_a_job_whose_record_is_gone_is_reported(queue, redis, workers, database, lines):
    """rq skips it without a word; here it is counted and named, and its id stays free for the producer."""
    job = queue.enqueue(FUNCTION, lines[2], job_id="refresh", unique=True)
    redis.delete(job.key)
    workers.start()
    until(lambda: redis.zscore(f"rq:jobqueue:gone:{queue.name}", job.id), lambda: f"it is named\n{workers.log()}")
    assert redis.hget("rq:jobqueue:gone", queue.name) == b"1"
    assert not Job.exists(job.id, connection=redis)
    again = queue.enqueue(FUNCTION, lines[2], job_id="refresh", unique=True)
    workers.reaches(again, JobStatus.FINISHED)
    assert database.companies() == Expected(lines[2:3]).rows


def test_a_canceled_job_leaves_the_queue(queue, workers, database, lines):
    canceled = queue.enqueue(FUNCTION, lines[3])
    kept = queue.enqueue(FUNCTION, lines[4])
    canceled.cancel()
    workers.start()
    workers.reaches(kept, JobStatus.FINISHED)
    assert canceled.get_status(refresh=True) == JobStatus.CANCELED
    assert canceled.id in queue.canceled_job_registry
    assert database.companies() == Expected(lines[4:5]).rows


def test_a_deleted_job_is_not_run(queue, workers, database, lines):
    deleted = queue.enqueue(FUNCTION, lines[5])
    kept = queue.enqueue(FUNCTION, lines[6])
    deleted.delete()
    workers.start()
    workers.reaches(kept, JobStatus.FINISHED)
    assert database.companies() == Expected(lines[6:7]).rows


@pytest.mark.ours
def test_the_same_id_twice_on_the_list_has_one_effect(queue, redis, workers, database, lines):
    job = queue.enqueue(FUNCTION, lines[7])
    redis.rpush(queue.key, job.id)
    last = queue.enqueue(FUNCTION, lines[8])
    workers.start()
    workers.reaches(last, JobStatus.FINISHED)
    workers.reaches(job, JobStatus.FINISHED)
    assert database.companies() == Expected(lines[7:9]).rows


@pytest.mark.ours
def test_a_hundred_thousand_ids_without_a_record(queue, redis, workers, database, lines):
    """An import whose records expired: counted, the last of them named, and next to nothing is kept of them."""
    number = 100_000
    before = redis.info("memory")["used_memory"]
    for first in range(0, number, 10_000):
        redis.rpush(queue.key, *(f"gone-{first + offset:06}" for offset in range(10_000)))
    last = queue.enqueue(FUNCTION, lines[0])
    worker = workers.start()
    workers.reaches(last, JobStatus.FINISHED, seconds=60)
    assert queue.count == 0
    assert redis.hget("rq:jobqueue:gone", queue.name) == str(number).encode()
    assert redis.zcard(f"rq:jobqueue:gone:{queue.name}") == 1000
    assert redis.info("memory")["used_memory"] - before < 20 << 20
    assert redis.dbsize() < 100
    assert worker.log.stat().st_size < 100_000, worker.output(500)
    assert database.companies() == Expected(lines[:1]).rows
