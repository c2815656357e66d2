"""What a person may tell running workers through Redis: pause, go on, stop, drop this job; and SIGTERM."""

import json
import signal

import pytest
from rq import Queue, Worker
from rq.command import send_shutdown_command, send_stop_job_command
from rq.job import JobStatus
from rq.suspension import resume, suspend

from e2e.harness.companies import FUNCTION, Expected
from e2e.harness.waiting import until


def states(redis):
    return [worker.get_state() for worker in Worker.all(connection=redis)]


@pytest.mark.ours
def test_suspend_and_resume(redis, queue, workers, worker, lines):
    """An idle rq worker notices only when its blocking pop times out, after 405 s; here it is a matter of a second."""
    workers.reaches(queue.enqueue(FUNCTION, lines[0]), JobStatus.FINISHED)
    suspend(redis)
    until(lambda: states(redis) == ["suspended"], lambda: f"the worker pauses: {states(redis)}\n{workers.log()}")
    job = queue.enqueue(FUNCTION, lines[1])
    probe = redis.info("stats")["total_commands_processed"]
    until(lambda: redis.info("stats")["total_commands_processed"] > probe + 20, "time passes")
    assert job.get_status(refresh=True) == JobStatus.QUEUED
    resume(redis)
    workers.reaches(job, JobStatus.FINISHED)


@pytest.mark.ours
def test_a_worker_that_starts_suspended_waits(redis, queue, workers, lines):
    suspend(redis)
    job = queue.enqueue(FUNCTION, lines[1])
    workers.start()
    until(lambda: states(redis) == ["suspended"], lambda: f"{states(redis)}\n{workers.log()}")
    assert job.get_status(refresh=True) == JobStatus.QUEUED
    resume(redis)
    workers.reaches(job, JobStatus.FINISHED)


def test_shutdown(redis, queue, workers, worker, lines):
    workers.reaches(queue.enqueue(FUNCTION, lines[0]), JobStatus.FINISHED)
    [seen] = Worker.all(connection=redis)
    send_shutdown_command(redis, seen.name)
    until(lambda: not worker.alive(), lambda: f"the worker ends\n{workers.log()}")
    assert worker.wait() == 0
    assert Worker.all(connection=redis) == []


def test_sigterm_when_idle(redis, queue, workers, worker, lines):
    workers.reaches(queue.enqueue(FUNCTION, lines[0]), JobStatus.FINISHED)
    until(lambda: states(redis) == ["idle"], "the worker is idle")
    worker.send(signal.SIGTERM)
    until(lambda: not worker.alive(), lambda: f"the worker ends\n{workers.log()}", seconds=5)
    assert worker.wait() == 0
    assert Worker.all(connection=redis) == []


def test_a_running_job_is_seen_running(redis, queue, workers, worker, database, lock, lines):
    locked = lock()
    job = queue.enqueue(FUNCTION, lines[2])
    workers.reaches(job, JobStatus.STARTED)
    assert queue.started_job_registry.get_job_ids(cleanup=False) == [job.id]
    [execution] = job.get_executions()
    assert execution.job_id == job.id
    until(lambda: states(redis) == ["busy"], lambda: f"{states(redis)}", 5)
    [seen] = Worker.all(connection=redis)
    assert seen.get_current_job().id == job.id
    assert job.worker_name == seen.name
    locked.execute("ROLLBACK")
    workers.reaches(job, JobStatus.FINISHED)
    assert database.companies() == Expected(lines[2:3]).rows


def test_stop_job(redis, queue, workers, worker, database, lock, lines):
    locked = lock()
    job = queue.enqueue(FUNCTION, lines[3])
    workers.reaches(job, JobStatus.STARTED)
    until(lambda: states(redis) == ["busy"], lambda: f"{states(redis)}", 5)
    send_stop_job_command(redis, job.id)
    workers.reaches(job, JobStatus.STOPPED)
    locked.execute("ROLLBACK")
    assert job.id in queue.failed_job_registry
    following = queue.enqueue(FUNCTION, lines[4])
    workers.reaches(following, JobStatus.FINISHED)
    assert job.get_status(refresh=True) == JobStatus.STOPPED


@pytest.mark.ours
def test_sigterm_gives_back_what_cannot_be_finished(redis, queue, workers, database, lock, lines):
    """rq would wait for ever, and lose the job to the SIGKILL that follows."""
    worker = workers.start(worker={"drainSeconds": 1})
    locked = lock()
    job = queue.enqueue(FUNCTION, lines[5])
    workers.reaches(job, JobStatus.STARTED)
    worker.send(signal.SIGTERM)
    until(lambda: not worker.alive(), lambda: f"the worker ends\n{workers.log()}")
    assert worker.wait() == 0
    assert job.get_status(refresh=True) == JobStatus.QUEUED
    assert queue.get_job_ids() == [job.id]
    assert queue.started_job_registry.get_job_ids(cleanup=False) == []
    locked.execute("ROLLBACK")
    workers.start()
    workers.reaches(job, JobStatus.FINISHED)
    assert database.companies() == Expected(lines[5:6]).rows


# Compares every element with every other: for 40,000 of them that takes minutes.
SLOW = [
    {
        "functions": [FUNCTION],
        "tables": [
            {
                "table": "company_regist_info",
                "columns": {
                    "name": "string(size(record.l.filter(x, record.l.exists(y, y == x + 1000000))))",
                    "source_url": "''",
                    "reg_num": "''",
                    "created_time": "now()",
                    "update_time": "now()",
                },
            }
        ],
    }
]


@pytest.mark.ours
def test_the_time_limit_holds_for_a_record_that_computes_for_ever(queue, workers):
    worker = workers.start(ingest=SLOW, retry={"maxAttempts": 1}, worker={"drainSeconds": 1})
    records = [json.dumps({"l": list(range(size))}) for size in (40_000, 0)]
    slow, neighbour = queue.enqueue_many(
        [Queue.prepare_data(FUNCTION, args=(record,), timeout=2) for record in records]
    )
    workers.reaches(slow, JobStatus.FAILED)
    assert (
        slow.latest_result()
        .exc_string.splitlines()[-1]
        .endswith("JobTimeoutException: Task exceeded maximum timeout value (2 seconds)")
    )
    workers.reaches(neighbour, JobStatus.FINISHED)
    unlimited = queue.enqueue(FUNCTION, records[0], job_timeout=-1)
    workers.reaches(unlimited, JobStatus.STARTED)
    worker.send(signal.SIGTERM)
    until(lambda: not worker.alive(), lambda: f"the worker ends\n{workers.log()}", seconds=8)
    assert worker.wait() == 0
