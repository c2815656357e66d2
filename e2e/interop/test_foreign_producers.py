"""Records of producers in other languages: the fields that they know, which are fewer than rq writes."""

import pytest
from rq.job import Job, JobStatus

from e2e.harness.companies import FUNCTION
from e2e.harness.producer import call
from e2e.harness.waiting import until

FIELDS = {"origin": "companies", "status": "queued", "description": "by hand", "timeout": 60}


@pytest.fixture
def put(redis):
    def write(job_id, line, **fields):
        redis.hset(f"rq:job:{job_id}", mapping={"data": call(FUNCTION, line), **FIELDS, **fields})
        redis.sadd("rq:queues", "rq:queue:companies")
        redis.rpush("rq:queue:companies", job_id)
        return Job.fetch(job_id, connection=redis)

    return write


TIMES = {"neither time": (), "enqueued_at": ("enqueued_at",), "created_at": ("created_at",)}


def at(names, second):
    """Of a record that is written at that second, those of its times that the producer knows."""
    return dict.fromkeys(names, f"2026-01-02T03:04:{second:02}.000006Z")


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_good_and_bad(times, put, queue, redis, workers, written, lines):
    workers.start()
    good, bad = put("good", lines[0], **at(times, 0)), put("bad", lines[1][:60], **at(times, 0))
    workers.reaches(good, JobStatus.FINISHED)
    workers.reaches(bad, JobStatus.FAILED)
    assert queue.finished_job_registry.get_job_ids() == ["good"]
    assert queue.failed_job_registry.get_job_ids() == ["bad"]
    assert 0 < redis.ttl(good.key) <= 500
    assert good.latest_result().type == good.latest_result().Type.SUCCESSFUL
    written(lines[:1])


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_the_same_record_written_again_runs_again(times, put, workers, written, lines):
    workers.start()
    for number in (1, 2):
        workers.reaches(put("again", lines[0], **at(times, number)), JobStatus.FINISHED)
        written([lines[0]] * number)


@pytest.mark.ours
@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_its_worker_is_killed(times, put, queue, workers, lock, written, quiet, lines):
    worker = workers.start(queue={"leaseSeconds": 2})
    held = lock()
    job = workers.reaches(put("killed", lines[0], **at(times, 0)), JobStatus.STARTED)
    worker.kill()
    workers.processes.remove(worker)
    held.execute("ROLLBACK")
    workers.start(queue={"leaseSeconds": 2})
    workers.reaches(job, JobStatus.FINISHED, seconds=15)
    quiet()
    written(lines[:1])
    assert queue.failed_job_registry.count == 0


@pytest.mark.ours
@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_written_over_while_it_is_in_hand(times, put, redis, workers, lock, written, quiet, lines):
    """Where no time tells a newer record from the same one pushed twice, what it holds does."""
    workers.start()
    held = lock()
    workers.reaches(put("company-42", lines[0], **at(times, 0)), JobStatus.STARTED)
    for number in (1, 2):
        put("company-42", lines[number], **at(times, number))
        until(
            lambda number=number: redis.llen("rq:jobqueue:behind:companies:company-42") == number,
            lambda: f"it waits for its turn\n{workers.log()}",
        )
        redis.rpush("rq:queue:companies", "company-42")
        until(lambda: redis.llen("rq:queue:companies") == 0, "the same pushed twice is taken off")
    held.execute("ROLLBACK")
    written(lines[:3], in_order=True)
    quiet()
    assert redis.hget("rq:job:company-42", "status") == b"finished"


@pytest.mark.ours
def test_a_rescue_by_hand_of_one_that_is_in_hand(put, redis, workers, lock, quiet, written, lines):
    """Somebody pushes the id of what seems to be stuck: one record, one run."""
    workers.start()
    held = lock()
    job = workers.reaches(put("company-42", lines[0]), JobStatus.STARTED)
    redis.rpush("rq:queue:companies", job.id)
    until(lambda: redis.llen("rq:queue:companies") == 0, "it is taken")
    held.execute("ROLLBACK")
    quiet()
    written(lines[:1])
