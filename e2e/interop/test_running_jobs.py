"""What others do to a job, or to its queue, while a worker runs it."""

import json
import signal
import subprocess
import time

import pytest
from rq import Queue, Worker
from rq.command import send_stop_job_command
from rq.job import Job, JobStatus

from e2e.harness.companies import FUNCTION
from e2e.harness.waiting import until
from e2e.harness.workers import binary


def status(redis_server):
    done = subprocess.run(
        [binary("jobqueue"), "status", "--redis", redis_server.url, "--queue", "companies", "-o", "json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


def running(redis_server):
    [shown] = status(redis_server)["queues"]
    return shown["running"]


@pytest.mark.ours
@pytest.mark.parametrize("what", ["cancel", "delete"])
def test_its_worker_is_idle_as_soon_as_it_is_taken_back(what, redis, redis_server, workers, start_job, quiet, lines):
    """An rq worker goes on with it, and is busy until it is done."""
    workers.start(queue={"leaseSeconds": 4})
    job = start_job(lines[0]).job
    getattr(job, what)()
    until(
        lambda: [worker.get_state() for worker in Worker.all(connection=redis)] == ["idle"],
        lambda: f"the worker is idle\n{workers.log()}",
        seconds=8,
    )
    [seen] = Worker.all(connection=redis)
    assert seen.get_current_job_id() is None
    assert running(redis_server) == 0
    quiet()


@pytest.mark.ours
@pytest.mark.parametrize("kind", ["jobqueue", "python"])
def test_it_is_as_old_as_it_began(kind, redis, redis_server, workers, start_job, lines):
    """Nobody looked before: what rq's own worker leaves, of either version, tells as much as what ours leaves."""
    ours = {"queue": {"leaseSeconds": 3}, "worker": {"concurrency": 1}}
    workers.start(kind=kind, **(ours if kind == "jobqueue" else {}))
    began = time.time()
    held = start_job(lines[0])
    time.sleep(3)
    [worker] = status(redis_server)["workers"]
    assert worker["state"] == "busy"
    assert 3 <= worker["jobAgeSeconds"] <= time.time() - began
    if kind == "jobqueue":
        assert float(redis.hget(f"rq:worker:{worker['name']}", "current_job_working_time")) >= 1
    held.let_go()
    workers.reaches(held.job, JobStatus.FINISHED)
    until(
        lambda: [worker["jobAgeSeconds"] for worker in status(redis_server)["workers"]] == [None], "no job is running"
    )


@pytest.mark.parametrize("what", ["cancel", "delete"])
def test_the_worker_goes_on_with_the_next(what, queue, redis, workers, start_job, quiet, lines):
    workers.start()
    held = start_job(lines[0])
    getattr(held.job, what)()
    following = queue.enqueue(FUNCTION, lines[1])
    held.let_go()
    workers.reaches(following, JobStatus.FINISHED)
    until(lambda: [worker.get_state() for worker in Worker.all(connection=redis)] == ["idle"], "the worker is idle")
    assert queue.started_job_registry.get_job_ids(cleanup=False) == []
    assert queue.failed_job_registry.count == 0


def test_a_client_saves_its_old_copy(queue, redis, workers, start_job, written, lines):
    """Its old status is written over the job's; the run that goes on is still that job's."""
    worker = workers.start()
    workers.reaches(queue.enqueue(FUNCTION, lines[0]), JobStatus.FINISHED)
    held = start_job(lines[1])
    stale = Job.fetch("company-42", connection=redis)
    stale.set_status(JobStatus.QUEUED)
    stale.meta["seen"] = True
    stale.save()
    assert held.job.get_status(refresh=True) == JobStatus.QUEUED
    held.let_go()
    workers.reaches(held.job, JobStatus.FINISHED)
    assert held.job.get_meta() == {"seen": True}
    written(lines[:2])
    assert queue.finished_job_registry.count == 2
    assert worker.alive()


@pytest.mark.parametrize("deleted", [False, True], ids=["emptied", "deleted"])
def test_its_queue_goes(deleted, queue, redis, workers, start_job, written, lines):
    """The job that runs is done; those that waited are gone, without a word."""
    worker = workers.start()
    held = start_job(lines[0])
    worker.freeze()
    # A claim that was on its way is served before the second of these, and so before there is a job for it.
    for _ in range(2):
        redis.ping()
    waiting = queue.enqueue(FUNCTION, lines[1])
    if deleted:
        queue.delete(delete_jobs=True)
    else:
        queue.empty()
    assert not Job.exists(waiting.id, connection=redis)
    worker.send(signal.SIGCONT)
    held.let_go()
    workers.reaches(held.job, JobStatus.FINISHED)
    following = queue.enqueue(FUNCTION, lines[2])
    workers.reaches(following, JobStatus.FINISHED)
    written([lines[0], lines[2]])


def test_clean_up_of_the_registry_after_a_success(queue, workers, worker, lines):
    """rq's own clean-up as it is an hour later: what finished has left the registry, and is not failed by it."""
    job = workers.reaches(queue.enqueue(FUNCTION, lines[0]), JobStatus.FINISHED)
    queue.started_job_registry.cleanup(timestamp=time.time() + 3600)
    assert job.get_status(refresh=True) == JobStatus.FINISHED
    assert job.id not in queue.failed_job_registry


@pytest.mark.ours
def test_one_of_a_batch_is_stopped(redis, queue, workers, lock, written, lines):
    workers.start(worker={"concurrency": 1, "batchSize": 10})
    held = lock()
    jobs = queue.enqueue_many([Queue.prepare_data(FUNCTION, args=(line,)) for line in lines[:10]])
    for job in jobs:
        workers.reaches(job, JobStatus.STARTED)
    send_stop_job_command(redis, jobs[5].id)
    until(lambda: "asked to stop" in workers.log(), "the worker hears of it")
    held.execute("ROLLBACK")
    workers.reaches(jobs[5], JobStatus.STOPPED)
    for job in jobs[:5] + jobs[6:]:
        workers.reaches(job, JobStatus.FINISHED)
    written(lines[:5] + lines[6:10])
    assert queue.failed_job_registry.get_job_ids() == [jobs[5].id]


def test_a_job_moved_by_hand_fails_where_it_was_made_for(redis, queue, workers, written, lines):
    """There rq looks for it."""
    other = Queue("another", connection=redis)
    job = queue.enqueue(FUNCTION, lines[0][:60])
    assert redis.lmove(queue.key, other.key) == job.id.encode()
    workers.start(queues=("companies", "another"))
    workers.reaches(job, JobStatus.FAILED)
    assert queue.failed_job_registry.get_job_ids() == [job.id]
    assert other.failed_job_registry.get_job_ids() == []
    redis.hset(job.key, "data", Job.create(FUNCTION, args=(lines[0],), id="mended", connection=redis).to_dict()["data"])
    job.refresh()
    job.requeue()
    workers.reaches(job, JobStatus.FINISHED)
    assert queue.finished_job_registry.get_job_ids() == [job.id]
    written(lines[:1])
