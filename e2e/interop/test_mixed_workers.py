"""An rq worker and ours on one queue: every job runs once, whoever takes it."""

from rq import Queue, Worker
from rq.job import Job, JobStatus

from e2e.harness import companies
from e2e.harness.companies import FUNCTION, Expected
from e2e.harness.waiting import until


def test_side_by_side(redis, queue, workers, database):
    lines = companies.make(300, seed=11, bad=0.03)
    expected = Expected(lines)
    jobs = queue.enqueue_many([Queue.prepare_data(FUNCTION, args=(line,)) for line in lines[:60]])
    workers.start(kind="python")
    until(
        lambda: any(each.successful_job_count > 0 for each in Worker.all(connection=redis)),
        lambda: f"rq works\n{workers.log()}",
    )
    workers.start(kind=workers.kind, worker={"batchSize": 5, "concurrency": 1})
    jobs += queue.enqueue_many([Queue.prepare_data(FUNCTION, args=(line,)) for line in lines[60:]])
    ended = (JobStatus.FINISHED, JobStatus.FAILED)
    until(
        lambda: queue.finished_job_registry.count + queue.failed_job_registry.count == len(lines),
        lambda: f"all end: {queue.finished_job_registry.count} + {queue.failed_job_registry.count}\n{workers.log()}",
        seconds=120,
    )
    assert database.companies() == expected.rows
    assert queue.failed_job_registry.count == expected.failed
    statuses = [job.get_status() for job in Job.fetch_many([job.id for job in jobs], connection=redis)]
    assert all(status in ended for status in statuses)
    counts = [each.successful_job_count for each in Worker.all(connection=redis)]
    assert len(counts) == 2 and all(counts), f"both had a share: {counts}"
    assert sum(counts) == expected.companies


def test_python_requeues_what_ours_failed_and_the_reverse(redis, queue, workers, database, lines):
    """The record of a failure is read and moved by rq's own code, and the job then runs in rq's own worker."""
    ours = workers.start()
    job = workers.reaches(queue.enqueue(FUNCTION, lines[0][:40]), JobStatus.FAILED)
    ours.stop()
    redis.hset(job.key, "data", Job.create(FUNCTION, args=(lines[0],), id="mended", connection=redis).to_dict()["data"])
    queue.failed_job_registry.requeue(job.id)
    workers.start(kind="python")
    workers.reaches(job, JobStatus.FINISHED)
    assert database.companies() == Expected(lines[:1]).rows
