"""The slot of a queue moves to another node of a cluster, a few keys at a time, while jobs wait and are worked on: nothing
is done without its keys, and everything is done once it has arrived.

The jobs' records go last: whoever looks at the other node too early finds the queue, and not its jobs.
"""
import time

import pytest
from harness import marks
from harness.marks import Effects
from harness.topologies import Cluster
from harness.waiting import until
from harness.workers import JobQueueWorker
from redis.cluster import RedisCluster

CREW = 3
PREFIX = "{rq}"


def tagged(protocol):
    """What all keys of the queue have in common: RQ's prefix, or the key itself."""
    return PREFIX if protocol == "RQ" else marks.KEY


def scripts(cluster):
    """How many were sent to any of the nodes, redirected ones included."""
    told = [node.client().info("commandstats").get(f"cmdstat_{name}", {}) for node in cluster.nodes for name in ("eval", "evalsha")]
    return sum(each.get(kind, 0) for each in told for kind in ("calls", "rejected_calls"))


def workers_try(cluster):
    wanted = scripts(cluster) + CREW
    until(lambda: scripts(cluster) >= wanted, "workers try their luck in the middle of it")


def in_hand(cluster, protocol):
    return (marks.status(cluster.url, protocol, PREFIX) or {}).get("running", 0)


@pytest.mark.parametrize("protocol", ["RQ", "List", pytest.param("Stream", marks=pytest.mark.with_full)])
def test_each_job_once(full, tmp_path, measure, protocol):
    number, moves = (1000, 4) if full else (200, 1)
    cluster, rows, workers = Cluster(tmp_path), Effects(tmp_path / "database"), []
    try:
        slot = cluster.nodes[0].client().execute_command("CLUSTER KEYSLOT", tagged(protocol))
        source = cluster.owner(slot)
        targets = [node for node in cluster.nodes if node is not source]
        acknowledged = {}
        producer = RedisCluster(host="127.0.0.1", port=source.port)

        def feed(client, count):
            new = [marks.mark(each) for each in range(len(acknowledged), len(acknowledged) + count)]
            marks.enqueue(client, protocol, new, PREFIX, transaction=False)
            acknowledged.update(dict.fromkeys(new, (source.port, time.monotonic(), 0)))

        workers = [JobQueueWorker(tmp_path, cluster.url, rows.url, name=f"worker{each}", **marks.settings(protocol, PREFIX)) for each in range(CREW)]
        until(lambda: marks.crew_is_there(cluster.url, protocol, CREW, PREFIX), lambda: f"the workers are there\n{workers[0].output()}")
        steps = 0
        for move in range(moves):
            target = targets[move % 2]
            with rows.held():
                feed(producer, number)
                until(lambda: in_hand(cluster, protocol) >= CREW, lambda: f"jobs are in hand\n{workers[0].output()}")
                keys = cluster.move(slot, source, target, last=b":job:", step=number // 8 if protocol == "RQ" else 8)
                next(keys)
            for _ in keys:
                steps += 1
                feed(producer, 1)
                workers_try(cluster)
            source, targets = target, [node for node in cluster.nodes if node is not target]
        at = time.monotonic()
        until(lambda: marks.drained(cluster.url, protocol, PREFIX),
              lambda: f"all end: {marks.status(cluster.url, protocol, PREFIX)}\n{workers[0].output()}", 90)
        told, wrong = marks.account(acknowledged, rows.marks(), set().union(*(marks.holdings(node.client()) for node in cluster.nodes)))
        told["failed"] = marks.status(cluster.url, protocol, PREFIX)["failed"]
        measure(jobs=len(acknowledged), steps=steps, done_after=time.monotonic() - at, **told)
        assert not wrong, wrong
        assert (told["applied"], told["failed"]) == (len(acknowledged), 0), workers[0].output()
    finally:
        for worker in workers:
            worker.kill()
        cluster.stop()
