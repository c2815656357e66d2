"""A whole file into each database: exactly its rows, also when all of its jobs are delivered again.

Where the same jobs are enqueued anew after a flush, all rows are written once more.
"""

import time

from e2e.harness import backlog, companies
from e2e.harness.companies import Expected
from e2e.harness.producer import Producer
from e2e.harness.waiting import until


def settle(redis, workers, number, seconds):
    """Until `number` jobs ended; returns how long it took."""
    start = time.monotonic()

    def ended():
        for worker in workers:
            assert worker.alive(), worker.output()
        now = backlog.read(redis)
        return now.finished + now.failed >= number and now.waiting == now.running == 0

    until(ended, lambda: f"all end: {backlog.read(redis)}\n{workers[0].output()}", seconds)
    return time.monotonic() - start


def test_exactly_the_rows_of_the_file(full, redis, database, start_worker, measure):
    count = 100_000 if full else 5_000
    lines = companies.make(count, seed=3, bad=0.01)
    expected = Expected(lines)
    producer = Producer(redis)
    producer.enqueue(lines)
    workers = [start_worker(worker={"batchSize": 200}), start_worker(worker={"batchSize": 200})]
    seconds = settle(redis, workers, count, seconds=900)
    assert database.counts() == (expected.companies, expected.partners, expected.companies)
    assert database.companies() == expected.rows
    assert backlog.read(redis).failed == expected.failed
    measure(
        jobs=count,
        companies=expected.companies,
        partners=expected.partners,
        failed=expected.failed,
        jobs_per_second=count / seconds,
    )

    # As a Redis that was restored from a backup: what had been done since waits again.
    life = redis.get("rq:jobqueue:life")
    redis.flushall()
    redis.set("rq:jobqueue:life", life)
    producer.enqueue(lines)
    seconds = settle(redis, workers, count, seconds=900)
    assert database.counts() == (expected.companies, expected.partners, expected.companies)
    assert backlog.read(redis).failed == expected.failed
    measure(again_per_second=count / seconds)

    # Flushed, and enqueued anew: other runs.
    redis.flushall()
    producer.enqueue(lines)
    settle(redis, workers, count, seconds=900)
    assert database.counts() == (2 * expected.companies, 2 * expected.partners, 2 * expected.companies)
