"""A worker that is gone without a word: its jobs run again, in another of ours, and rq's readers keep working."""

import time

import pytest
from rq import Queue, Retry, Worker
from rq.job import JobStatus
from rq.results import Result

from e2e.harness.companies import FUNCTION, Expected
from e2e.harness.waiting import until

pytestmark = pytest.mark.ours


SHORT_LEASE = {"leaseSeconds": 2}


@pytest.fixture
def strike(queue, workers, database):
    """Kills a worker in the middle of a job; returns the job."""

    def enqueue_and_kill(line, **options):
        worker = workers.start(queue=SHORT_LEASE)
        holder = database.connect()
        holder.isolation_level = None
        holder.execute("BEGIN IMMEDIATE")
        job = queue.enqueue(FUNCTION, line, **options)
        workers.reaches(job, JobStatus.STARTED)
        worker.kill()
        workers.processes.remove(worker)
        holder.execute("ROLLBACK")
        holder.close()
        return job

    return enqueue_and_kill


@pytest.fixture
def struck(strike, lines):
    return strike(lines[0])


def test_another_takes_over_within_the_lease(struck, workers, database, lines):
    workers.start(queue=SHORT_LEASE)
    workers.reaches(struck, JobStatus.FINISHED, seconds=15)
    assert database.companies() == Expected(lines[:1]).rows


def test_readers_are_not_upset_meanwhile(struck, queue, redis):
    assert struck.get_status(refresh=True) == JobStatus.STARTED
    assert [execution.job_id for execution in struck.get_executions()] == [struck.id]
    assert queue.started_job_registry.get_job_ids(cleanup=False) == [struck.id]
    [ghost] = Worker.all(connection=redis)
    assert ghost.get_current_job().id == struck.id


def test_readers_of_the_registry_do_not_fail_it(struck, queue, workers, database, lines):
    """rq cleans up in whoever reads the registry, and fails what lapsed: a dashboard must not be faster than our
    workers."""
    began = time.monotonic()
    while time.monotonic() - began < 4:
        queue.started_job_registry.get_job_ids()
        assert struck.get_status(refresh=True) == JobStatus.STARTED
        time.sleep(0.1)
    workers.start(queue=SHORT_LEASE)
    workers.reaches(struck, JobStatus.FINISHED, seconds=15)
    assert database.companies() == Expected(lines[:1]).rows


def test_a_retry_set_by_the_producer_covers_a_crash(strike, workers, database, lines):
    job = strike(lines[1], retry=Retry(max=2))
    workers.start(queue=SHORT_LEASE)
    workers.reaches(job, JobStatus.FINISHED, seconds=15)
    assert job.latest_result().type == Result.Type.SUCCESSFUL
    assert database.companies() == Expected(lines[1:2]).rows


def test_two_of_ours_share_a_queue(queue, redis, workers, database, lines):
    workers.start(worker={"batchSize": 2, "concurrency": 1})
    workers.start(worker={"batchSize": 2, "concurrency": 1})
    queue.enqueue_many([Queue.prepare_data(FUNCTION, args=(line,)) for line in lines])
    until(lambda: queue.finished_job_registry.count == len(lines), lambda: f"all finish\n{workers.log()}")
    assert database.companies() == Expected(lines).rows
    assert sum(worker.successful_job_count for worker in Worker.all(connection=redis)) == len(lines)


@pytest.mark.parametrize("number", range(3))
def test_readers_of_the_registry_while_others_take_over(number, queue, redis, strike, workers, written, quiet, lines):
    """The same with a worker at hand: whoever comes first when the lease lapses, the job runs again."""
    struck = strike(lines[number])
    workers.start(queue=SHORT_LEASE)

    def read():
        queue.started_job_registry.get_job_ids()
        return struck.get_status(refresh=True) == JobStatus.FINISHED

    until(read, lambda: f"it is {struck.get_status(refresh=True)}\n{workers.log()}", 15, pause=0.1 * (number + 1))
    assert queue.failed_job_registry.count == 0
    assert [result.type for result in struck.results() if result.type == Result.Type.SUCCESSFUL] == [
        Result.Type.SUCCESSFUL
    ]
    quiet()
    written(lines[number : number + 1])
