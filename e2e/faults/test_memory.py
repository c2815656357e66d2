"""A worker's memory after many jobs is its memory after few."""

import statistics
import time

import pytest

from e2e.harness import backlog, companies, databases
from e2e.harness.companies import FUNCTION
from e2e.harness.producer import Producer, call
from e2e.harness.redis_server import RedisServer
from e2e.harness.waiting import until
from e2e.harness.workers import JobQueueWorker


@pytest.fixture
def setting(tmp_path):
    """Not durable, and SQLite without a wait for the disk: it is the worker that is measured."""
    server = RedisServer(tmp_path / "redis")
    database = databases.start("sqlite", tmp_path / "database")
    worker = JobQueueWorker(tmp_path, server.url, database.url)
    yield server.client(), database, worker
    worker.kill()
    server.stop()


def test_resident_memory_is_flat(full, setting, measure):
    redis, database, worker = setting
    total, wave = (1_000_000, 10_000) if full else (120_000, 3_000)
    payloads = [call(FUNCTION, line) for line in companies.make(2_000, seed=13)]
    producer = Producer(redis)
    samples, sent = [], 0
    start = time.monotonic()
    while sent < total:
        until(
            lambda: backlog.read(redis).waiting < wave, lambda: f"it works\n{worker.output()}", seconds=120, pause=0.01
        )
        producer.enqueue_data(
            [payloads[(sent + number) % len(payloads)] for number in range(wave)], first=sent, result_ttl=0
        )
        sent += wave
        samples.append(worker.resident_kib() / 1024)
    until(lambda: backlog.drained(redis), lambda: f"all end: {backlog.read(redis)}\n{worker.output()}", seconds=120)
    assert database.counts()[0] == total
    # The first quarter is not counted: batches grow, prepared statements and the allocator's own stock fill up.
    early = statistics.median(samples[len(samples) // 4 : len(samples) * 3 // 8])
    late = statistics.median(samples[-len(samples) // 10 :])
    measure(jobs=total, seconds=time.monotonic() - start, early_mib=early, late_mib=late, most_mib=max(samples))
    assert late < early * 1.1 + 4, [round(sample, 1) for sample in samples]
