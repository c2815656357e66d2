"""What rq's own readers see of a job that ended: status, results, registries and times to live."""

import datetime

import pytest
from rq import Queue
from rq.job import Job, JobStatus
from rq.results import Result

from e2e.harness.companies import FUNCTION, Expected
from e2e.harness.waiting import until

YEAR = 31_536_000
pytestmark = pytest.mark.usefixtures("worker")


def close_to(seconds):
    """A time to live that was set moments ago."""
    return pytest.approx(seconds, abs=20)


def nothing_in_progress(queue, job):
    """No trace of a run that ended, where rq's readers look for one that goes on."""
    assert job.get_executions() == []
    assert queue.started_job_registry.get_job_ids(cleanup=False) == []
    assert queue.intermediate_queue.get_job_ids() == []


def test_a_finished_job(queue, redis, workers, lines):
    job = workers.reaches(queue.enqueue(FUNCTION, lines[0]), JobStatus.FINISHED)
    assert job.is_finished and not job.is_failed
    assert job.enqueued_at <= job.started_at <= job.ended_at
    assert job.worker_name
    result = job.latest_result()
    assert result.type == Result.Type.SUCCESSFUL
    assert result.return_value == job.return_value() == 1 + Expected(lines[:1]).partners  # the rows it wrote
    assert result.worker_name == job.worker_name
    assert job.id in queue.finished_job_registry
    assert job.id not in queue.failed_job_registry
    assert redis.ttl(job.key) == close_to(500)
    assert redis.ttl(Result.get_key(job.id)) == close_to(500)
    assert redis.zscore(queue.finished_job_registry.key, job.id) == pytest.approx(
        datetime.datetime.now().timestamp() + 500, abs=20
    )
    nothing_in_progress(queue, job)
    assert queue.count == 0


@pytest.mark.parametrize("result_ttl", [60, 86_400])
def test_result_ttl(queue, redis, workers, lines, result_ttl):
    job = workers.reaches(queue.enqueue(FUNCTION, lines[1], result_ttl=result_ttl), JobStatus.FINISHED)
    assert redis.ttl(job.key) == close_to(result_ttl)
    assert redis.ttl(Result.get_key(job.id)) == close_to(result_ttl)


def test_result_ttl_for_ever(queue, redis, workers, lines):
    job = workers.reaches(queue.enqueue(FUNCTION, lines[2], result_ttl=-1), JobStatus.FINISHED)
    assert redis.ttl(job.key) == -1
    assert redis.ttl(Result.get_key(job.id)) == -1
    assert redis.zscore(queue.finished_job_registry.key, job.id) == float("inf")


def test_result_ttl_zero_leaves_nothing(queue, redis, workers, database, lines):
    job = queue.enqueue(FUNCTION, lines[3], result_ttl=0)
    until(lambda: not Job.exists(job.id, connection=redis), lambda: f"the job's record goes\n{workers.log()}")
    assert database.companies() == Expected(lines[3:4]).rows
    until(
        lambda: not redis.keys(f"rq:*{job.id}*"), lambda: f"no key is left: {redis.keys(f'rq:*{job.id}*')}", seconds=5
    )
    assert job.id not in queue.finished_job_registry
    assert queue.started_job_registry.get_job_ids(cleanup=False) == []


def test_a_failed_job(queue, redis, workers, database, lines):
    job = workers.reaches(queue.enqueue(FUNCTION, lines[4][:100]), JobStatus.FAILED)
    assert job.is_failed
    assert job.id in queue.failed_job_registry
    assert job.id not in queue.finished_job_registry
    result = job.latest_result()
    assert result.type == Result.Type.FAILED
    assert result.exc_string
    assert job.return_value() is None
    assert redis.ttl(job.key) == close_to(YEAR)
    assert job.started_at <= job.ended_at
    nothing_in_progress(queue, job)
    assert database.counts()[:2] == (0, 0)


@pytest.mark.ours
def test_every_failed_job_says_why(queue, workers, lines):
    """rq leaves a traceback; the reason is one line here, and names the place."""
    cut = workers.reaches(queue.enqueue(FUNCTION, lines[4][:100]), JobStatus.FAILED)
    assert "JSON" in cut.latest_result().exc_string
    other = workers.reaches(queue.enqueue("ParseCompany.no_such", lines[4]), JobStatus.FAILED)
    assert "ParseCompany.no_such" in other.latest_result().exc_string


@pytest.mark.ours
def test_the_record_of_a_failure_expires_with_the_job(queue, redis, workers, lines):
    """rq itself leaves a failed job's result stream for ever."""
    job = workers.reaches(queue.enqueue(FUNCTION, lines[4][:100]), JobStatus.FAILED)
    assert redis.ttl(Result.get_key(job.id)) == close_to(YEAR)


def test_failure_ttl(queue, redis, workers, lines):
    job = workers.reaches(queue.enqueue(FUNCTION, lines[5][:100], failure_ttl=3600), JobStatus.FAILED)
    assert redis.ttl(job.key) == close_to(3600)
    assert redis.ttl(Result.get_key(job.id)) == close_to(3600)
    assert redis.zscore(queue.failed_job_registry.key, job.id) == pytest.approx(
        datetime.datetime.now().timestamp() + 3600, abs=20
    )


def test_ttl_is_lifted_when_the_job_runs(queue, redis, workers, lines):
    job = workers.reaches(queue.enqueue(FUNCTION, lines[6], ttl=3600, result_ttl=-1), JobStatus.FINISHED)
    assert redis.ttl(job.key) == -1


def test_an_unknown_function_fails_and_the_others_go_on(queue, workers, database, lines):
    unknown = queue.enqueue("no_such_module.no_such_function", lines[7])
    known = queue.enqueue(FUNCTION, lines[8])
    workers.reaches(unknown, JobStatus.FAILED)
    workers.reaches(known, JobStatus.FINISHED)
    assert database.companies() == Expected(lines[8:9]).rows


def test_the_failed_registry_lists_all_that_failed(queue, workers, lines):
    jobs = queue.enqueue_many([Queue.prepare_data(FUNCTION, args=(line[:50],)) for line in lines[:10]])
    until(lambda: queue.failed_job_registry.count == 10, lambda: f"ten fail\n{workers.log()}")
    assert set(queue.failed_job_registry.get_job_ids()) == {job.id for job in jobs}
