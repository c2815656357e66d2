"""An id that is enqueued again while a run of it goes on.

Each run happens once, with the data of its own enqueue, and in order, so that the newest data is written last.
"""

import datetime
import signal

import pytest
from rq import Queue
from rq.exceptions import InvalidJobOperation
from rq.job import Job, JobStatus
from rq.suspension import resume, suspend

from e2e.harness.companies import FUNCTION
from e2e.harness.waiting import until

ID = "company-42"
SHORT_LEASE = {"leaseSeconds": 2}


def again(queue, line, **options):
    return queue.enqueue(FUNCTION, line, job_id=ID, **options)


def taken(redis, queue, workers):
    """Whoever serves the queue took what waits there; ours sets aside what has to wait for a run that goes on."""
    until(lambda: redis.llen(queue.key) == 0, lambda: f"the list is taken\n{workers.log()}")


def set_aside(redis, queue, workers, number=1):
    until(
        lambda: redis.llen(f"rq:jobqueue:behind:{queue.name}:{ID}") == number,
        lambda: f"{number} wait for their turn\n{workers.log()}",
    )


def test_both_take_place(queue, redis, workers, start_job, written, lines):
    """Two workers: with one, an rq worker writes its own copy over the newer record before it comes to it."""
    workers.start()
    workers.start()
    first = start_job(lines[0])
    again(queue, lines[1])
    taken(redis, queue, workers)
    first.let_go()
    written(lines[:2])
    workers.reaches(first.job, JobStatus.FINISHED)
    assert queue.failed_job_registry.count == 0


@pytest.mark.ours
@pytest.mark.parametrize("number_of_workers", [1, 2])
def test_three_versions_in_order(number_of_workers, queue, redis, workers, start_job, written, quiet, lines):
    """Two rq workers write in whatever order they come to it."""
    for _ in range(number_of_workers):
        workers.start()
    first = start_job(lines[0])
    again(queue, lines[1])
    set_aside(redis, queue, workers)
    again(queue, lines[2])
    set_aside(redis, queue, workers, 2)
    assert queue.started_job_registry.get_job_ids(cleanup=False) == [ID]
    first.let_go()
    written(lines[:3], in_order=True)
    quiet()
    job = Job.fetch(ID, connection=redis)
    assert job.get_status() == JobStatus.FINISHED
    assert job.args == (lines[2],)
    assert [result.type for result in job.results()] == [job.latest_result().Type.SUCCESSFUL] * 3
    assert queue.finished_job_registry.get_job_ids() == [ID]


@pytest.mark.ours
@pytest.mark.parametrize("pushes", [1, 2])
def test_the_second_and_the_third_in_one_claim(pushes, queue, redis, workers, start_job, written, quiet, lines):
    """The second waits aside, the third on the list, when the first has ended."""
    workers.start()
    first = start_job(lines[0])
    again(queue, lines[1])
    set_aside(redis, queue, workers)
    suspend(redis)
    again(queue, lines[2])
    for _ in range(pushes - 1):
        redis.rpush(queue.key, ID)
    first.let_go()
    until(
        lambda: queue.started_job_registry.get_job_ids(cleanup=False) == [], lambda: f"the first ends\n{workers.log()}"
    )
    resume(redis)
    written(lines[:3], in_order=True)
    quiet()


@pytest.mark.ours
def test_an_older_one_that_fails(queue, redis, workers, start_job, lock, written, quiet, lines):
    """Bad data, then good: the job is what the last run made of it; the failed run keeps its data, under an id of its
    own."""
    workers.start()
    blocker = start_job(lines[0])
    again(queue, lines[1][:60])
    set_aside(redis, queue, workers)
    again(queue, lines[2])
    set_aside(redis, queue, workers, 2)
    blocker.let_go()
    written([lines[0], lines[2]], in_order=True)
    quiet()
    assert blocker.job.get_status(refresh=True) == JobStatus.FINISHED
    [kept] = queue.failed_job_registry.get_job_ids()
    assert kept.startswith(f"{ID}-")
    assert Job.fetch(kept, connection=redis).args == (lines[1][:60],)


@pytest.mark.ours
def test_the_last_one_fails(queue, redis, workers, start_job, written, quiet, lines):
    workers.start()
    first = start_job(lines[0])
    again(queue, lines[1][:60])
    set_aside(redis, queue, workers)
    first.let_go()
    workers.reaches(first.job, JobStatus.FAILED)
    written(lines[:1])
    quiet()
    assert queue.failed_job_registry.get_job_ids() == [ID]
    assert "JSON" in first.job.latest_result().exc_string


@pytest.mark.ours
@pytest.mark.parametrize("known", [True, False], ids=["set aside", "on the list"])
def test_its_worker_is_killed(known, queue, redis, workers, start_job, written, quiet, lines):
    """The producer has written over the record of a running job; it runs again all the same, and first."""
    worker = workers.start(queue=SHORT_LEASE)
    first = start_job(lines[0])
    if known:
        again(queue, lines[1])
        set_aside(redis, queue, workers)
    worker.kill()
    workers.processes.remove(worker)
    if not known:
        again(queue, lines[1])
    first.let_go()
    workers.start(queue=SHORT_LEASE)
    written(lines[:2], in_order=True)
    quiet()
    assert first.job.get_status(refresh=True) == JobStatus.FINISHED


@pytest.mark.ours
def test_its_worker_drains(queue, redis, workers, start_job, written, quiet, lines):
    """SIGTERM: a running job is released, and stays before what came after it."""
    worker = workers.start(queue=SHORT_LEASE, worker={"drainSeconds": 1})
    first = start_job(lines[0])
    again(queue, lines[1])
    set_aside(redis, queue, workers)
    assert worker.stop() == 0
    workers.processes.remove(worker)
    first.let_go()
    workers.start(queue=SHORT_LEASE)
    written(lines[:2], in_order=True)
    quiet()


@pytest.mark.ours
@pytest.mark.parametrize("due", ["meanwhile", "afterwards"])
def test_scheduled_again(due, queue, redis, workers, start_job, written, quiet, lines):
    """An rq worker writes its own copy over the newer record, so that the scheduler's run has the older data."""
    workers.start()
    first = start_job(lines[0])
    again_in = datetime.timedelta(seconds=1 if due == "meanwhile" else 3)
    queue.enqueue_in(again_in, FUNCTION, lines[1], job_id=ID)
    if due == "meanwhile":
        set_aside(redis, queue, workers)
        first.let_go()
    else:
        first.let_go()
        until(lambda: queue.started_job_registry.get_job_ids(cleanup=False) == [], "the first ends")
        assert first.job.get_status(refresh=True) == JobStatus.SCHEDULED
    written(lines[:2], in_order=True)
    quiet()
    assert first.job.get_status(refresh=True) == JobStatus.FINISHED


def test_the_same_object_enqueued_again(queue, redis, workers, start_job, written, lines):
    """As an administrator's page does with a job that it takes for stuck."""
    workers.start()
    workers.start()
    first = start_job(lines[0])
    queue.enqueue_job(Job.fetch(ID, connection=redis))
    taken(redis, queue, workers)
    first.let_go()
    written([lines[0]] * 2)
    workers.reaches(first.job, JobStatus.FINISHED)


@pytest.mark.ours
def test_what_is_in_hand_is_not_failed_any_more(queue, redis, workers, start_job, written, quiet, lines):
    """rq leaves the entry of the earlier run, and would requeue what runs."""
    workers.start()
    workers.reaches(again(queue, lines[0][:60]), JobStatus.FAILED)
    second = start_job(lines[1])
    with pytest.raises(InvalidJobOperation):
        queue.failed_job_registry.requeue(ID)
    second.let_go()
    workers.reaches(second.job, JobStatus.FINISHED)
    quiet()
    written([lines[1]])


def test_on_another_queue(redis, queue, workers, start_job, written, lines):
    other = Queue("another", connection=redis)
    workers.start()
    workers.start(queues=("another",))
    first = start_job(lines[0])
    again(other, lines[1])
    taken(redis, other, workers)
    first.let_go()
    written(lines[:2])


@pytest.mark.ours
def test_on_another_queue_in_order(redis, queue, workers, start_job, written, quiet, lines):
    other = Queue("another", connection=redis)
    workers.start()
    workers.start(queues=("another",))
    first = start_job(lines[0])
    again(other, lines[1])
    set_aside(redis, other, workers)
    again(queue, lines[2])
    set_aside(redis, queue, workers)
    first.let_go()
    written(lines[:3])
    quiet("companies", "another")
    assert first.job.get_status(refresh=True) == JobStatus.FINISHED
    assert other.failed_job_registry.count == queue.failed_job_registry.count == 0


@pytest.mark.ours
@pytest.mark.parametrize("what", ["cancel", "delete"])
def test_after_it_was_taken_back(what, queue, redis, workers, start_job, written, quiet, database, lines):
    """A running job may be too far to be stopped; what came after it is wanted, once and last."""
    workers.start()
    first = start_job(lines[0])
    getattr(first.job, what)()
    second = again(queue, lines[1])
    first.let_go()
    workers.reaches(second, JobStatus.FINISHED)
    quiet()
    names = [row[0] for row in database.query("SELECT name FROM company_regist_info ORDER BY id")]
    written(lines[1:2] if len(names) == 1 else lines[:2], in_order=True)
    assert second.args == (lines[1],)


@pytest.mark.ours
@pytest.mark.parametrize("what", ["cancel", "delete"])
def test_taken_back_while_it_waits_for_its_turn(what, queue, redis, workers, start_job, written, quiet, lines):
    workers.start()
    first = start_job(lines[0])
    second = again(queue, lines[1])
    set_aside(redis, queue, workers)
    getattr(second, what)()
    first.let_go()
    last = queue.enqueue(FUNCTION, lines[2])
    workers.reaches(last, JobStatus.FINISHED)
    quiet()
    written([lines[0], lines[2]])
    assert what == "delete" or second.get_status(refresh=True) == JobStatus.CANCELED


def test_a_python_worker_holds_the_first(queue, redis, workers, start_job, written, lines):
    ours = workers.start()
    ours.send(signal.SIGSTOP)
    workers.start(kind="python")
    first = start_job(lines[0])
    ours.send(signal.SIGCONT)
    again(queue, lines[1])
    taken(redis, queue, workers)
    first.let_go()
    written(lines[:2])
    workers.reaches(first.job, JobStatus.FINISHED)


def test_a_python_worker_gets_the_second(queue, redis, workers, start_job, written, lines):
    ours = workers.start()
    first = start_job(lines[0])
    workers.start(kind="python")
    ours.send(signal.SIGSTOP)
    again(queue, lines[1])
    taken(redis, queue, workers)
    ours.send(signal.SIGCONT)
    first.let_go()
    written(lines[:2])
    workers.reaches(first.job, JobStatus.FINISHED)
