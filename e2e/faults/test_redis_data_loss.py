"""A Redis that loses what it acknowledged: restarted with `appendfsync everysec`, or restored from a backup.

What was done is not done again. Jobs that were enqueued since the copy and had not run are lost.
"""

import shutil
import time

import pytest

from e2e.harness import marks
from e2e.harness.marks import Effects
from e2e.harness.redis_server import RedisServer
from e2e.harness.waiting import until
from e2e.harness.workers import JobQueueWorker

WORKERS = 2


@pytest.mark.parametrize("protocol", marks.PROTOCOLS)
def test_what_was_done_is_not_done_again(full, tmp_path, measure, protocol):
    rounds, step = (5, 1000) if full else (2, 150)
    server = RedisServer(tmp_path / "redis", durable=True)
    redis, rows = server.client(), Effects(tmp_path / "database")
    workers = [
        JobQueueWorker(tmp_path, server.url, rows.url, name=f"worker{number}", **marks.settings(protocol))
        for number in range(WORKERS)
    ]
    acknowledged, certain, done, number = {}, [], 0, 0

    def feed(count):
        nonlocal number
        new = [marks.mark(each) for each in range(number, number + count)]
        marks.enqueue(redis, protocol, new)
        acknowledged.update(dict.fromkeys(new, (server.port, time.monotonic(), 0)))
        number += count

    def rows_reach(count):
        until(
            lambda: rows.count() >= count,
            lambda: f"{count} rows, there are {rows.count()}\n{workers[0].output()}",
            60,
            0.002,
        )

    try:
        for _ in range(rounds):
            feed(step)
            certain += list(acknowledged)[-step:]
            rows_reach(done + step // 3)
            # The file only grows: a copy of it is what Redis had at some moment.
            shutil.copytree(tmp_path / "redis" / "appendonlydir", tmp_path / "then")
            feed(step)
            rows_reach(done + step)
            server.process.kill()
            shutil.rmtree(tmp_path / "redis" / "appendonlydir")
            shutil.move(tmp_path / "then", tmp_path / "redis" / "appendonlydir")
            at = time.monotonic()
            server.start()
            kept = marks.holdings(redis)
            until(
                lambda: marks.drained(server.url, protocol),
                lambda: f"all end: {marks.status(server.url, protocol)}\n{workers[0].output()}",
                60,
            )
            done = rows.count()
        counts, wrong = marks.account(acknowledged, rows.marks(), marks.holdings(redis), kept, (server.port, at))
        counts["failed"] = marks.status(server.url, protocol)["failed"]
        measure(jobs=len(acknowledged), **counts)
        assert not wrong, wrong
        assert counts["failed"] == 0
        rows_of_mark = rows.marks()
        assert not [each for each in certain if rows_of_mark[each] != 1], "what the copy had is done"
    finally:
        for worker in workers:
            worker.kill()
        server.stop()
