"""A queue on a Redis Cluster whose slot moves to another node, a few keys at a time, while jobs wait and run.

No script runs without all of its keys, and all jobs are done when the move is complete. The job records move last:
a worker that asks the target node too early finds the queue without its jobs.
"""

import time

import pytest
from redis.cluster import RedisCluster

from e2e.harness import marks
from e2e.harness.marks import Effects
from e2e.harness.topologies import Cluster
from e2e.harness.waiting import until
from e2e.harness.workers import JobQueueWorker

WORKERS = 3
PREFIX = "{rq}"


def tagged(protocol):
    """What all keys of the queue have in common: RQ's prefix, or the key itself."""
    return PREFIX if protocol == "RQ" else marks.KEY


def scripts(cluster):
    """How many were sent to any of the nodes, redirected ones included."""
    counts = [
        node.client().info("commandstats").get(f"cmdstat_{name}", {})
        for node in cluster.nodes
        for name in ("eval", "evalsha")
    ]
    return sum(each.get(kind, 0) for each in counts for kind in ("calls", "rejected_calls"))


def workers_try(cluster):
    wanted = scripts(cluster) + WORKERS
    until(lambda: scripts(cluster) >= wanted, "workers try their luck in the middle of it")


def running_jobs(cluster, protocol):
    return (marks.status(cluster.url, protocol, PREFIX) or {}).get("running", 0)


@pytest.fixture
def cluster(tmp_path):
    started = Cluster(tmp_path)
    yield started
    started.stop()


@pytest.fixture
def start_workers(tmp_path, cluster):
    """Starts the workers, and waits until they are there."""
    workers = []

    def start(rows, protocol):
        workers.extend(
            JobQueueWorker(tmp_path, cluster.url, rows.url, name=f"worker{each}", **marks.settings(protocol, PREFIX))
            for each in range(WORKERS)
        )
        until(
            lambda: marks.workers_are_registered(cluster.url, protocol, WORKERS, PREFIX),
            lambda: f"the workers are there\n{workers[0].output()}",
        )
        return workers[0]

    yield start
    for worker in workers:
        worker.kill()


def ended(cluster, protocol, worker):
    until(
        lambda: marks.drained(cluster.url, protocol, PREFIX),
        lambda: f"all end: {marks.status(cluster.url, protocol, PREFIX)}\n{worker.output()}",
        90,
    )
    return marks.status(cluster.url, protocol, PREFIX)["failed"]


@pytest.mark.parametrize("protocol", ["RQ", "List", pytest.param("Stream", marks=pytest.mark.with_full)])
def test_each_job_once(full, tmp_path, cluster, start_workers, measure, protocol):
    number, moves = (1000, 4) if full else (200, 1)
    rows, acknowledged = Effects(tmp_path / "database"), {}
    slot = cluster.nodes[0].client().execute_command("CLUSTER KEYSLOT", tagged(protocol))
    source = cluster.owner(slot)
    targets = [node for node in cluster.nodes if node is not source]
    producer = RedisCluster(host="127.0.0.1", port=source.port)

    def feed(count):
        new = [marks.mark(each) for each in range(len(acknowledged), len(acknowledged) + count)]
        marks.enqueue(producer, protocol, new, PREFIX, transaction=False)
        acknowledged.update(dict.fromkeys(new, (source.port, time.monotonic(), 0)))

    worker = start_workers(rows, protocol)
    steps = 0
    for move in range(moves):
        target = targets[move % 2]
        with rows.held():
            feed(number)
            until(lambda: running_jobs(cluster, protocol) >= WORKERS, lambda: f"jobs are running\n{worker.output()}")
            keys = cluster.move(slot, source, target, last=b":job:", step=number // 8 if protocol == "RQ" else 8)
            next(keys)
        for _ in keys:
            steps += 1
            feed(1)
            workers_try(cluster)
        source, targets = target, [node for node in cluster.nodes if node is not target]
    at = time.monotonic()
    failed = ended(cluster, protocol, worker)
    held = set().union(*(marks.holdings(node.client()) for node in cluster.nodes))
    counts, wrong = marks.account(acknowledged, rows.marks(), held)
    measure(jobs=len(acknowledged), steps=steps, done_after=time.monotonic() - at, failed=failed, **counts)
    assert not wrong, wrong
    assert (counts["applied"], failed) == (len(acknowledged), 0), worker.output()


@pytest.mark.with_full
@pytest.mark.parametrize("protocol", marks.PROTOCOLS)
def test_a_master_dies_and_its_replica_has_the_queue(tmp_path, cluster, start_workers, measure, protocol):
    rows, acknowledged = Effects(tmp_path / "database"), {}
    master = cluster.owner(cluster.nodes[0].client().execute_command("CLUSTER KEYSLOT", tagged(protocol)))
    replica = cluster.add_replica(master)
    worker = start_workers(rows, protocol)

    def feed(node, numbers):
        new = [marks.mark(each) for each in numbers]
        marks.enqueue(node.client(), protocol, new, PREFIX)
        acknowledged.update(dict.fromkeys(new, (node.port, time.monotonic(), 0)))

    with rows.held():
        feed(master, range(500))
        until(lambda: running_jobs(cluster, protocol) >= WORKERS, lambda: f"jobs are running\n{worker.output()}")
        master.process.kill()
        until(
            lambda: replica.client().execute_command("ROLE")[0] == b"master",
            lambda: f"the replica takes over\n{replica.process.output()}",
            60,
        )
        at, kept = time.monotonic(), marks.holdings(replica.client())
        until(
            lambda: b"cluster_state:ok" in replica.client().execute_command("CLUSTER", "INFO"),
            "the cluster works again",
        )
    feed(replica, range(500, 600))
    failed = ended(cluster, protocol, worker)
    counts, wrong = marks.account(
        acknowledged, rows.marks(), marks.holdings(replica.client()), kept, (replica.port, at)
    )
    measure(jobs=len(acknowledged), failed=failed, **counts)
    assert not wrong, wrong
    assert failed == 0
