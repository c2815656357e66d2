"""Ids that come back on purpose: `repeat`, `unique`, a requeue. Each wanted run has its effect, once."""

import datetime

import pytest
from rq import Repeat
from rq.exceptions import DuplicateJobError
from rq.job import Job, JobStatus

from e2e.harness.companies import FUNCTION, Expected
from e2e.harness.waiting import until


def rows_of(database, line, number):
    return lambda: database.companies() == Expected([line] * number).rows


def test_repeat_without_an_interval(queue, workers, worker, database, lines):
    job = queue.enqueue(FUNCTION, lines[0], repeat=Repeat(times=2))
    until(rows_of(database, lines[0], 3), lambda: f"three runs\n{workers.log()}")
    until(lambda: Job.fetch(job.id, connection=queue.connection).repeats_left == 0, "no repeat is left")
    workers.reaches(job, JobStatus.FINISHED)


def test_repeat_with_intervals(queue, workers, worker, database, lines):
    job = queue.enqueue(FUNCTION, lines[1], repeat=Repeat(times=2, interval=[1, 1]))
    until(rows_of(database, lines[1], 3), lambda: f"three runs\n{workers.log()}")
    workers.reaches(job, JobStatus.FINISHED)
    assert job.id not in queue.scheduled_job_registry


def test_unique_refuses_a_second_while_the_first_is_known(queue, workers, worker, database, lines):
    job = queue.enqueue(FUNCTION, lines[2], job_id="only-one", unique=True, result_ttl=2)
    with pytest.raises(DuplicateJobError):
        queue.enqueue(FUNCTION, lines[2], job_id="only-one", unique=True)
    until(lambda: not Job.exists("only-one", connection=queue.connection), lambda: f"it is forgotten\n{workers.log()}")
    again = queue.enqueue(FUNCTION, lines[2], job_id="only-one", unique=True)
    workers.reaches(again, JobStatus.FINISHED)
    assert job.id == again.id
    assert database.companies() == Expected([lines[2]] * 2).rows


def test_a_finished_job_enqueued_again_runs_again(queue, workers, worker, database, lines):
    job = workers.reaches(queue.enqueue(FUNCTION, lines[3], result_ttl=-1), JobStatus.FINISHED)
    queue.enqueue_job(job)
    until(rows_of(database, lines[3], 2), lambda: f"a second run\n{workers.log()}")


@pytest.mark.ours
def test_scheduled_again_for_now(queue, redis, workers, worker, written, lines):
    """rq 2 puts the id among the scheduled before it writes the record: what is due has the earlier run's record for
    a moment."""
    job = workers.reaches(queue.enqueue(FUNCTION, lines[3], job_id="daily"), JobStatus.FINISHED)
    queue.scheduled_job_registry.schedule(job, datetime.datetime.now(datetime.UTC))
    looks = redis.info("commandstats")["cmdstat_zrangebyscore"]["calls"]
    until(
        lambda: redis.info("commandstats")["cmdstat_zrangebyscore"]["calls"] >= looks + 4, "ours looks at what is due"
    )
    Job.create(
        FUNCTION,
        args=(lines[5],),
        id="daily",
        connection=redis,
        status=JobStatus.SCHEDULED,
        origin=queue.name,
        timeout=180,
    ).save()
    written([lines[3], lines[5]], in_order=True)
    assert queue.scheduled_job_registry.get_job_ids() == []


def test_a_failed_job_mended_and_requeued(queue, redis, workers, worker, database, lines):
    job = workers.reaches(queue.enqueue(FUNCTION, lines[4][:60]), JobStatus.FAILED)
    redis.hset(job.key, "data", Job.create(FUNCTION, args=(lines[4],), id="mended", connection=redis).to_dict()["data"])
    queue.failed_job_registry.requeue(job.id)
    workers.reaches(job, JobStatus.FINISHED)
    assert job.id not in queue.failed_job_registry
    assert database.companies() == Expected(lines[4:5]).rows


def test_unique_with_a_time_to_live_that_ran_out(queue, redis, workers, database, lines):
    """Nobody served it in time. Whoever takes the id off the list then leaves it free for the producer."""
    queue.enqueue(FUNCTION, lines[5], job_id="refresh", unique=True, ttl=1, result_ttl=0)
    until(lambda: not Job.exists("refresh", connection=redis), "it expires")
    workers.start()
    until(lambda: queue.count == 0, lambda: f"the id is taken off\n{workers.log()}")
    queue.enqueue(FUNCTION, lines[5], job_id="refresh", unique=True, ttl=60, result_ttl=0)
    until(rows_of(database, lines[5], 1), lambda: f"it runs\n{workers.log()}")


@pytest.mark.parametrize("gone", [{"result_ttl": 0}, {"result_ttl": 1}, {}], ids=["no result", "expired", "deleted"])
def test_a_job_object_enqueued_again_after_its_record_went(
    gone, queue, redis, workers, worker, database, written, lines
):
    """The client's object has the times of the first run, and writes them anew."""
    job = queue.enqueue(FUNCTION, lines[6], **gone)
    until(rows_of(database, lines[6], 1), lambda: f"it runs\n{workers.log()}")
    if not gone:
        workers.reaches(job, JobStatus.FINISHED).delete()
    for times in (2, 3):
        until(lambda: not Job.exists(job.id, connection=redis), lambda: f"its record goes\n{workers.log()}")
        queue.enqueue_job(job)
        until(rows_of(database, lines[6], times), lambda: f"it runs again\n{workers.log()}")
        if not gone:
            workers.reaches(job, JobStatus.FINISHED).delete()
    written([lines[6]] * 3)
