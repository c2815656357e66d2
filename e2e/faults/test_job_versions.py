"""Which version of a job id runs, and in which order: cases that `test_kills_shared_names.py` found."""

import signal
from functools import partial

import pytest
from rq import Queue

from e2e.harness import databases
from e2e.harness.companies import FUNCTION
from e2e.harness.effects import Effects, record
from e2e.harness.redis_server import RedisServer
from e2e.harness.waiting import Late, until
from e2e.harness.workers import JobQueueWorker

QUEUE = "work"


class VersionHarness:
    """A Redis, a SQLite that can be held shut, and workers that have one batch at work and claim one more."""

    def __init__(self, directory, server):
        self.directory, self.server, self.redis = directory, server, server.client()
        self.database = databases.start("sqlite", directory / "database")
        self.effects = Effects(self.database)
        self.queue = Queue(QUEUE, connection=self.redis)
        self.workers, self.lock = [], None

    def start_worker(self, protocol="RQ", text="job.args[0]", backoff=1):
        config = {
            "queue": {"protocol": protocol, "names": [QUEUE], "leaseSeconds": 2},
            "ingest": self.effects.recipe("rq", text),
            "retry": {"maxAttempts": 1000, "backoffSeconds": backoff, "maxBackoffSeconds": backoff},
            "worker": {"batchSize": 10, "concurrency": 1},
        }
        worker = JobQueueWorker(
            self.directory, self.server.url, self.database.url, name=f"worker{len(self.workers)}", **config
        )
        self.workers.append(worker)
        until(lambda: "at work" in worker.output(), worker.output)
        return worker

    def block_writes(self):
        """No worker writes from now on: what is claimed goes on running."""
        self.lock = self.database.connect()
        self.lock.isolation_level = None
        self.lock.execute("BEGIN IMMEDIATE")

    def allow_writes(self):
        self.lock.execute("ROLLBACK")
        self.lock.close()

    def enqueue(self, version, *names):
        with self.redis.pipeline() as pipe:
            for name in names:
                self.queue.enqueue(FUNCTION, record(name, version), job_id=name, pipeline=pipe)
            pipe.execute()

    def status(self, name):
        return self.redis.hget(f"rq:job:{name}", "status").decode()

    def wait_until_started(self, *names, seconds=10):
        until(
            lambda: {self.status(name) for name in names} == {"started"},
            lambda: f"{names} are begun\n{self.workers[-1].output()}",
            seconds,
        )

    def holder(self, name):
        """The worker that runs the job."""
        said = self.redis.hget(f"rq:job:{name}", "worker_name").decode()
        return next(worker for worker in self.workers if said in worker.output())

    def versions(self, name):
        """In the order of the rows."""
        return [version for _, job, version in self.effects.rows() if job == name]

    def reaches(self, name, versions):
        until(
            lambda: len(self.versions(name)) >= len(versions),
            lambda: f"{self.versions(name)}\n{self.workers[-1].output()}",
            seconds=15,
        )
        assert self.versions(name) == versions


@pytest.fixture
def harness(tmp_path):
    server = RedisServer(tmp_path / "redis", durable=True)
    harness = VersionHarness(tmp_path, server)
    yield harness
    for worker in harness.workers:
        if worker.alive():
            worker.kill()
    server.stop()


def test_the_newer_version_waits_until_the_lapsed_one_is_taken_back(harness):
    """Workers claim all the time: between the lapse of the lease and the next look at leases, too."""
    first = harness.start_worker()
    harness.block_writes()
    harness.enqueue(1, "id")
    harness.wait_until_started("id")
    first.kill()
    harness.allow_writes()
    harness.enqueue(2, "id")
    harness.start_worker()
    until(lambda: harness.redis.exists(f"rq:jobqueue:aside:{QUEUE}"), "version 2 is set aside")
    numbers = iter(range(1_000_000))

    def another():
        harness.enqueue(next(numbers), "other")
        return len(harness.versions("id")) == 2

    until(another, lambda: f"both are done: {harness.versions('id')}", seconds=15, pause=0.005)
    assert harness.versions("id") == [1, 2]


def test_one_claim_that_takes_the_older_leaves_the_newer(harness):
    """Version 1 was taken back, version 2 is still in the queue, and one claim comes by both."""
    harness.start_worker(), harness.start_worker()
    harness.block_writes()
    names = iter(range(100))
    with pytest.raises(Late):  # until neither can claim another
        while True:
            harness.enqueue(1, name := f"id-{next(names)}")
            harness.wait_until_started(name, seconds=1)
    harness.holder("id-0").kill()
    harness.enqueue(2, "id-0")
    until(lambda: harness.redis.exists(f"rq:jobqueue:aside:{QUEUE}"), "version 1 is taken back")
    assert harness.redis.lpos(f"rq:queue:{QUEUE}", "id-0") is not None
    harness.allow_writes()
    harness.reaches("id-0", [1, 2])


def test_a_sleeper_writes_each_version_once_at_most(harness):
    """Version 1 waits for its next attempt when version 2 is written over it, and its last worker only slept: it may
    write the older after the newer, which no lease can keep it from."""
    harness.start_worker(backoff=8), harness.start_worker(backoff=8)
    harness.block_writes()
    harness.enqueue(1, "id")
    harness.wait_until_started("id")
    dead = harness.holder("id")
    dead.kill()
    until(lambda: harness.status("id") == "started" and harness.holder("id") != dead, "another takes it")
    sleeper = harness.holder("id")
    # With all its threads: one that goes on for a moment may lock the database that is free now.
    sleeper.freeze()
    harness.allow_writes()
    harness.start_worker(backoff=8)
    until(lambda: harness.status("id") == "scheduled", "version 1 waits for its next attempt")
    harness.enqueue(2, "id")
    until(lambda: 2 in harness.versions("id"), "version 2 is done", seconds=15)
    sleeper.send(signal.SIGCONT)
    sleeper.stop()  # after its running jobs
    assert harness.versions("id") in ([2], [1, 2], [2, 1])


def test_the_least_id_of_a_stream_is_an_entry_like_others(harness):
    add = partial(harness.redis.xadd, QUEUE)
    add({"record": record("least")}, id="0-1")
    add({"record": record("next")}, id="0-2")
    harness.start_worker("Stream", "job.fields.record")
    harness.reaches("next", [1])
    assert harness.versions("least") == [1]
