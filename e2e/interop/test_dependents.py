"""`depends_on`: a job that waits for others is queued by whoever finishes the last of them."""

from rq import Queue
from rq.job import Dependency, JobStatus

from e2e.harness.companies import FUNCTION, Expected
from e2e.harness.waiting import until


def test_waits_for_one(queue, workers, database, lines):
    first = queue.enqueue(FUNCTION, lines[0])
    second = queue.enqueue(FUNCTION, lines[1], depends_on=first)
    assert second.get_status() == JobStatus.DEFERRED
    assert second.id in queue.deferred_job_registry
    workers.start()
    workers.reaches(second, JobStatus.FINISHED)
    assert second.id not in queue.deferred_job_registry
    first.refresh()
    assert second.started_at >= first.started_at
    assert database.companies() == Expected(lines[:2]).rows


def test_waits_for_all_of_several(queue, workers, lines):
    parents = [queue.enqueue(FUNCTION, line) for line in lines[:3]]
    child = queue.enqueue(FUNCTION, lines[3], depends_on=parents)
    workers.start()
    workers.reaches(child, JobStatus.FINISHED)
    assert {parent.get_status(refresh=True) for parent in parents} == {JobStatus.FINISHED}


def test_a_chain(queue, workers, database, lines):
    jobs = []
    for line in lines[:5]:
        jobs.append(queue.enqueue(FUNCTION, line, depends_on=jobs[-1:] or None))
    workers.start()
    workers.reaches(jobs[-1], JobStatus.FINISHED)
    assert [row[0] for row in database.query("SELECT name FROM company_regist_info ORDER BY id")] == [
        Expected([line]).rows[0][1] for line in lines[:5]
    ]


def test_is_queued_where_it_belongs(redis, queue, workers, lines):
    other = Queue("another", connection=redis)
    parent = queue.enqueue(FUNCTION, lines[0])
    child = other.enqueue(FUNCTION, lines[1], depends_on=parent)
    workers.start()
    workers.reaches(parent, JobStatus.FINISHED)
    until(lambda: child.get_status(refresh=True) == JobStatus.QUEUED, lambda: f"the child is queued\n{workers.log()}")
    assert other.get_job_ids() == [child.id]
    child.refresh()
    assert child.enqueued_at is not None


def test_at_front_of_its_queue(redis, queue, workers, lines):
    other = Queue("another", connection=redis)
    before = other.enqueue(FUNCTION, lines[2])
    parent = queue.enqueue(FUNCTION, lines[0])
    child = other.enqueue(FUNCTION, lines[1], depends_on=Dependency(parent, enqueue_at_front=True))
    workers.start()
    workers.reaches(parent, JobStatus.FINISHED)
    until(lambda: other.get_job_ids() == [child.id, before.id], lambda: f"{other.get_job_ids()}\n{workers.log()}")


def test_a_failed_parent_holds_its_dependents(queue, workers, lines):
    parent = queue.enqueue(FUNCTION, lines[0][:50])
    child = queue.enqueue(FUNCTION, lines[1], depends_on=parent)
    bystander = queue.enqueue(FUNCTION, lines[2])
    workers.start()
    workers.reaches(parent, JobStatus.FAILED)
    workers.reaches(bystander, JobStatus.FINISHED)
    assert child.get_status(refresh=True) == JobStatus.DEFERRED
    assert child.id in queue.deferred_job_registry


def test_allow_failure(queue, workers, lines):
    parent = queue.enqueue(FUNCTION, lines[0][:50])
    child = queue.enqueue(FUNCTION, lines[1], depends_on=Dependency(parent, allow_failure=True))
    workers.start()
    workers.reaches(parent, JobStatus.FAILED)
    workers.reaches(child, JobStatus.FINISHED)


def test_a_parent_that_leaves_no_record(queue, workers, database, lines):
    parent = queue.enqueue(FUNCTION, lines[0], result_ttl=0)
    child = queue.enqueue(FUNCTION, lines[1], depends_on=parent)
    workers.start()
    workers.reaches(child, JobStatus.FINISHED)
    assert database.companies() == Expected(lines[:2]).rows
