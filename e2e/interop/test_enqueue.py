"""Every way an RQ producer has of putting a job on a queue, unchanged, and the rows that come of it."""

import datetime
import decimal
import uuid

import pytest
from rq import Queue
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from e2e.harness.companies import FUNCTION, Expected
from e2e.harness.waiting import until


def all_done(queue, number):
    return lambda: len(queue.finished_job_registry.get_job_ids(cleanup=False)) == number


def test_plain(queue, workers, worker, database, lines):
    job = queue.enqueue(FUNCTION, lines[0])
    workers.reaches(job, JobStatus.FINISHED)
    assert database.companies() == Expected(lines[:1]).rows


def test_a_function_object_and_keyword_arguments(redis, workers, worker, database, lines):
    """`Queue.enqueue_call` with the dotted name in the data, and arguments the recipe does not look at."""
    queue = Queue("companies", connection=redis)
    job = queue.enqueue_call(
        FUNCTION, args=(lines[1],), kwargs={"source": "register", "priority": 3}, description="by hand"
    )
    workers.reaches(job, JobStatus.FINISHED)
    assert job.description == "by hand"
    assert database.companies() == Expected(lines[1:2]).rows


def test_many(queue, workers, worker, database, lines):
    jobs = queue.enqueue_many([Queue.prepare_data(FUNCTION, args=(line,)) for line in lines])
    until(all_done(queue, len(lines)), lambda: f"all finish\n{workers.log()}")
    assert {job.get_status(refresh=True) for job in jobs} == {JobStatus.FINISHED}
    assert database.companies() == Expected(lines).rows


def test_json_serializer(json_queue, redis, workers, database, lines):
    workers.start(serializer="json")
    job = json_queue.enqueue(FUNCTION, lines[2])
    workers.reaches(job, JobStatus.FINISHED)
    assert database.companies() == Expected(lines[2:3]).rows
    again = Job.fetch(job.id, connection=redis, serializer=JSONSerializer)
    assert again.args == [lines[2]]
    assert again.return_value() == 1 + Expected(lines[2:3]).partners
    assert again.latest_result().return_value == again.return_value()


@pytest.mark.ours
def test_both_serializers_in_one_queue(queue, json_queue, workers, worker, database, lines):
    """An rq worker is told one serializer and fails on the other; ours sees which it is."""
    jobs = [(queue if number % 2 else json_queue).enqueue(FUNCTION, line) for number, line in enumerate(lines[:10])]
    for job, line in zip(jobs, lines[:10], strict=True):
        workers.reaches(job, JobStatus.FINISHED)
        assert job.return_value() == 1 + Expected([line]).partners
    assert database.companies() == Expected(lines[:10]).rows


def test_dates_decimals_and_ids_among_the_arguments(queue, workers, worker, lines):
    """Pickled as calls into the standard library; they are data all the same."""
    extra = [
        datetime.date(2024, 2, 29),
        datetime.datetime(2024, 2, 29, 12, 30, 1, 5),
        decimal.Decimal("12.50"),
        uuid.uuid4(),
        {"nested": [1, 2.5, None, True, (3, {4})]},
        b"bytes",
        2**80,
    ]
    job = queue.enqueue(FUNCTION, lines[3], *extra)
    workers.reaches(job, JobStatus.FINISHED)
    assert list(job.args[1:]) == extra


def test_custom_id(queue, redis, workers, worker, lines):
    job = queue.enqueue(FUNCTION, lines[4], job_id="company_4-a")
    workers.reaches(job, JobStatus.FINISHED)
    assert Job.fetch("company_4-a", connection=redis).get_status() == JobStatus.FINISHED
    assert Job.exists("company_4-a", connection=redis)


def test_meta_is_left_as_it_was(queue, redis, workers, worker, lines):
    job = queue.enqueue(FUNCTION, lines[5], meta={"batch": 9, "who": "import"})
    stored = redis.hget(job.key, "meta")
    workers.reaches(job, JobStatus.FINISHED)
    assert redis.hget(job.key, "meta") == stored
    assert job.get_meta() == {"batch": 9, "who": "import"}


def test_enqueue_in(queue, workers, worker, database, lines):
    job = queue.enqueue_in(datetime.timedelta(seconds=1), FUNCTION, lines[6])
    assert job.get_status() == JobStatus.SCHEDULED
    workers.reaches(job, JobStatus.FINISHED)
    assert job.id not in queue.scheduled_job_registry
    assert database.companies() == Expected(lines[6:7]).rows


def test_enqueue_at(queue, workers, worker, lines):
    due = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2)
    job = queue.enqueue_at(due, FUNCTION, lines[7])
    workers.reaches(job, JobStatus.FINISHED)
    assert job.started_at >= due.replace(microsecond=0)


def test_far_future_stays_scheduled(queue, workers, worker, lines):
    later = queue.enqueue_in(datetime.timedelta(hours=1), FUNCTION, lines[8])
    sooner = queue.enqueue_in(datetime.timedelta(seconds=1), FUNCTION, lines[9])
    workers.reaches(sooner, JobStatus.FINISHED)
    assert later.get_status(refresh=True) == JobStatus.SCHEDULED
    assert later.id in queue.scheduled_job_registry
