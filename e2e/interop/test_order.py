"""Which job is next: strict order of the queues, first in first out within one, `at_front` before all."""

from rq import Queue

from e2e.harness.companies import FUNCTION, names
from e2e.harness.waiting import until


def names_in_order_of_insertion(database):
    return [row[0] for row in database.query("SELECT name FROM company_regist_info ORDER BY id")]


def finish(queues, number, workers):
    until(
        lambda: sum(len(queue.finished_job_registry.get_job_ids(cleanup=False)) for queue in queues) == number,
        lambda: f"all finish\n{workers.log()}",
    )


def test_first_in_first_out(queue, workers, database, lines):
    for line in lines[:5]:
        queue.enqueue(FUNCTION, line)
    workers.start(worker={"concurrency": 1})
    finish([queue], 5, workers)
    assert names_in_order_of_insertion(database) == names(lines[:5])


def test_at_front(queue, workers, database, lines):
    for line in lines[:3]:
        queue.enqueue(FUNCTION, line)
    queue.enqueue(FUNCTION, lines[3], at_front=True)
    workers.start(worker={"concurrency": 1})
    finish([queue], 4, workers)
    assert names_in_order_of_insertion(database) == names([lines[3], *lines[:3]])


def test_queues_in_the_order_given(redis, workers, database, lines):
    low, high = Queue("low", connection=redis), Queue("high", connection=redis)
    for line in lines[:4]:
        low.enqueue(FUNCTION, line)
    for line in lines[4:8]:
        high.enqueue(FUNCTION, line)
    workers.start(queues=["high", "low"], worker={"concurrency": 1})
    finish([low, high], 8, workers)
    assert names_in_order_of_insertion(database) == names([*lines[4:8], *lines[:4]])


def test_queues_in_turn(redis, workers, database, lines):
    """As `rq worker --dequeue-strategy round_robin`: after a job, the queue behind it is asked first."""
    queues = [Queue(name, connection=redis) for name in "abc"]
    for queue, own in zip(queues, (lines[:4], lines[4:5], lines[5:8]), strict=True):
        for line in own:
            queue.enqueue(FUNCTION, line)
    workers.start(queues="abc", order="round_robin", worker={"concurrency": 1, "batchSize": 1})
    finish(queues, 8, workers)
    assert names_in_order_of_insertion(database) == names([lines[n] for n in (0, 4, 5, 1, 6, 2, 7, 3)])
