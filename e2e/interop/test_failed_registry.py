"""`jobqueue failed`, and ids that were used again after they failed: their entries are of an earlier run."""

import signal
import subprocess

import pytest
from rq.job import Job, JobStatus

from e2e.harness.companies import FUNCTION
from e2e.harness.waiting import until
from e2e.harness.workers import binary

pytestmark = pytest.mark.ours
ID = "company-42"


@pytest.fixture
def failed_command(redis_server):
    def run(*arguments):
        done = subprocess.run(
            [binary("jobqueue"), "failed", *arguments, "--redis", redis_server.url, "--queue", "companies"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture
def came_back(queue, workers, worker, lines):
    """One that failed, and one that waits, ran or failed under the same id since; and one that only failed."""

    def make(status):
        workers.reaches(queue.enqueue(FUNCTION, lines[0][:60], job_id=ID), JobStatus.FAILED)
        only = workers.reaches(queue.enqueue(FUNCTION, lines[1][:60], job_id="company-43"), JobStatus.FAILED)
        if status == JobStatus.QUEUED:
            worker.send(signal.SIGSTOP)
        job = queue.enqueue(FUNCTION, lines[0], job_id=ID)
        if status == JobStatus.FINISHED:
            workers.reaches(job, JobStatus.FINISHED)
        return job, only

    return make


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.FINISHED])
def test_requeue_all(status, came_back, failed_command, queue, redis, workers, worker, written, quiet, lines):
    job, only = came_back(status)
    result = only.latest_result().id
    failed_command("requeue", "--all")
    worker.send(signal.SIGCONT)
    until(lambda: only.latest_result().id != result, lambda: f"the one that only failed runs again\n{workers.log()}")
    workers.reaches(job, JobStatus.FINISHED)
    quiet()
    written(lines[:1])
    assert redis.hget(f"rq:job:{ID}", "status") == b"finished"


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.FINISHED])
def test_purge_all(status, came_back, failed_command, queue, redis, workers, worker, written, quiet, lines):
    job, only = came_back(status)
    failed_command("purge", "--all", "--yes")
    assert not Job.exists(only.id, connection=redis)
    assert Job.exists(job.id, connection=redis)
    worker.send(signal.SIGCONT)
    workers.reaches(job, JobStatus.FINISHED)
    quiet()
    written(lines[:1])
    assert redis.hget("rq:jobqueue:gone", queue.name) is None


@pytest.mark.parametrize("command", [["requeue", "--all"], ["purge", "--all", "--yes"]], ids=["requeue", "purge"])
def test_while_it_is_in_hand(command, failed_command, queue, workers, worker, start_job, written, quiet, lines):
    workers.reaches(queue.enqueue(FUNCTION, lines[0][:60], job_id=ID), JobStatus.FAILED)
    held = start_job(lines[0], job_id=ID)
    failed_command(*command)
    held.let_go()
    workers.reaches(held.job, JobStatus.FINISHED)
    quiet()
    written(lines[:1])
