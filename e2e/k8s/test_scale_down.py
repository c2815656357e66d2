"""Worker pods that go in the middle of their jobs: nothing is lost, and nothing is there twice."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from e2e.harness import backlog, companies
from e2e.harness.companies import Expected
from e2e.harness.manifests import companies as manifest
from e2e.harness.manifests import manual
from e2e.harness.waiting import until

pytestmark = pytest.mark.usefixtures("operator", "warehouse")


def deleted(namespace, pod):
    namespace.kubectl("delete", "pod", pod, "--wait=false")


def killed(namespace, pod):
    namespace.kubectl("delete", "pod", pod, "--grace-period=0", "--force")


def crashed(namespace, pod):
    """SIGKILL for the process itself; nobody tells it, and its container starts again. Where processes of pods are
    ours to see."""
    uid = namespace.cluster.get("pods", pod, namespace.name)["metadata"]["uid"]
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "comm").read_text().startswith("jobqueue-worker") and uid in (
                entry / "cgroup"
            ).read_text().replace("_", "-"):
                os.kill(int(entry.name), signal.SIGKILL)
                return
        except (FileNotFoundError, ProcessLookupError):
            continue
    pytest.skip("the processes of pods are not to be seen from here")


def evicted(namespace, pod):
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace.name}}
    namespace.kubectl(
        "create", "--raw", f"/api/v1/namespaces/{namespace.name}/pods/{pod}/eviction", "-f", "-", stdin=json.dumps(body)
    )


def scaled_away(namespace, pod):
    namespace.kubectl("scale", "jobqueue/companies", "--replicas=0")
    namespace.scales(0)


@pytest.mark.parametrize("how", [deleted, killed, crashed, evicted, scaled_away], ids=lambda how: how.__name__)
def test_in_the_middle_of_jobs(namespace, database, redis, producer, how, measure):
    namespace.apply(manual(2, worker={"batchSize": 50, "drainSeconds": 5}))
    pods = namespace.runs(2)
    lines = companies.make(3000, seed=31)
    expected = Expected(lines)
    with database.connect() as blocker:
        blocker.execute("LOCK TABLE stockholder IN ACCESS EXCLUSIVE MODE")
        producer.enqueue(lines)
        # Both hold jobs, and sit in a transaction that cannot commit.
        until(lambda: backlog.read(redis).running >= 100, lambda: f"both work: {backlog.read(redis)}", 20)
        began = time.monotonic()
        how(namespace, pods[0]["metadata"]["name"])
        if how is not crashed:
            gone = {pods[0]["metadata"]["uid"]}
            until(
                lambda: not gone & {pod["metadata"]["uid"] for pod in namespace.pods()},
                "the pod is on its way out",
                20,
                0.05,
            )
        blocker.rollback()
    if how is scaled_away:
        until(lambda: not namespace.cluster.get("pods", namespace=namespace.name), "both are gone", 30, 0.1)
        now = backlog.read(redis)
        assert now.running == 0, f"what was not finished was given back: {now}"
        done = database.counts()[0]
        assert done + now.waiting + now.scheduled == len(lines), "nothing is lost meanwhile"
        namespace.kubectl("scale", "jobqueue/companies", "--replicas=2")
    expected.wait_until_written(redis, database)
    assert database.companies() == expected.rows
    assert backlog.read(redis).failed == 0
    measure(seconds=time.monotonic() - began)
    namespace.runs(2)


def test_a_rollout_in_the_middle_of_jobs(namespace, database, redis, producer):
    namespace.apply(manual(2, worker={"batchSize": 20}))
    namespace.runs(2)
    lines = companies.make(4000, seed=32)
    expected = Expected(lines)
    producer.enqueue(lines)
    until(lambda: backlog.read(redis).finished > 100, "they work", 20)
    namespace.kubectl("rollout", "restart", "deployment/companies-worker")
    expected.wait_until_written(redis, database)
    assert backlog.read(redis).failed == 0


def test_a_drain_that_takes_too_long(namespace, database, redis, producer):
    """The pod is gone before its jobs are done: they are released, and done once, by others."""
    namespace.apply(manual(1, worker={"batchSize": 50, "drainSeconds": 1}))
    pod = namespace.runs(1)[0]
    lines = companies.make(200, seed=33)
    expected = Expected(lines)
    with database.connect() as blocker:
        blocker.execute("LOCK TABLE stockholder IN ACCESS EXCLUSIVE MODE")
        producer.enqueue(lines)
        until(lambda: backlog.read(redis).running >= 50, lambda: f"it works: {backlog.read(redis)}", 20)
        namespace.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
        until(
            lambda: not namespace.cluster.get("pods", pod["metadata"]["name"], namespace.name),
            "the pod is gone, jobs or not",
            30,
            0.1,
        )
        blocker.rollback()
    expected.wait_until_written(redis, database)
    assert backlog.read(redis).failed == 0


def holder(redis, pods):
    """The pod whose worker runs jobs."""
    busy = [key.decode() for key in redis.smembers("rq:workers") if redis.hget(key, "state") == b"busy"]
    named = [pod for pod in pods if any(pod["metadata"]["name"] in key for key in busy)]
    return named[0]["metadata"]["name"] if len(named) == 1 else None


def test_idle_workers_go_first(namespace, database, redis, producer):
    namespace.apply(manual(4))
    pods = namespace.runs(4)
    with database.connect() as blocker:
        blocker.execute("LOCK TABLE stockholder IN ACCESS EXCLUSIVE MODE")
        lines = companies.make(5, seed=34)
        producer.enqueue(lines[:1])
        until(lambda: holder(redis, pods), "one of them works", 20)
        busy = holder(redis, pods)
        namespace.kubectl("scale", "jobqueue/companies", "--replicas=1")
        namespace.scales(1)
        until(lambda: len(namespace.pods()) == 1, "three go", 30, 0.05)
        assert namespace.pods()[0]["metadata"]["name"] == busy
        blocker.rollback()
    until(lambda: database.counts()[0] == 1, "the job is done", 20, 0.1)


def test_busy_workers_are_no_surplus(namespace, database, redis, producer):
    """With no job waiting and one running, the other workers go, and its worker stays until it is done."""
    namespace.apply(manifest(scaling={"minReplicas": 3, "idleSeconds": 0}, worker={"concurrency": 1, "batchSize": 1}))
    namespace.scales(3)
    pods = namespace.runs(3)
    with database.connect() as blocker:
        blocker.execute("LOCK TABLE stockholder IN ACCESS EXCLUSIVE MODE")
        producer.enqueue(companies.make(1, seed=35))
        until(lambda: holder(redis, pods), "one of them works", 20)
        busy = holder(redis, pods)
        namespace.patch({"spec": {"scaling": {"minReplicas": 0}}})
        namespace.scales(1, within=20)
        until(lambda: len(namespace.pods()) == 1, "the idle ones go", 30, 0.05)
        assert namespace.pods()[0]["metadata"]["name"] == busy
        blocker.rollback()
    namespace.scales(0, within=20)
    assert database.counts()[0] == 1


@pytest.mark.takes(25)
def test_protected_workers_under_load(namespace, database, redis, producer):
    """Asked for fewer and more again and again while bursts come: busy ones stay, and nothing is tried twice."""
    namespace.apply(manual(4, scaling={"scaleDown": {"protectBusy": True}}, worker={"concurrency": 1, "batchSize": 20}))
    namespace.runs(4)
    lines = companies.make(4000, seed=36)
    expected = Expected(lines)
    for number in range(8):
        producer.enqueue(lines[500 * number : 500 * (number + 1)], first=500 * number)
        fewer = number % 2 == 0
        namespace.kubectl("scale", "jobqueue/companies", f"--replicas={1 if fewer else 4}")
        until(lambda: backlog.drained(redis), lambda: f"{backlog.read(redis)} {database.counts()}", 60, 0.05)
        namespace.scales(1 if fewer else 4, within=30)
    assert database.counts() == (expected.companies, expected.partners, expected.companies)
    assert backlog.read(redis).failed == 0


def test_a_busy_worker_is_waited_for(namespace, database, redis, producer):
    namespace.apply(manual(2, scaling={"scaleDown": {"protectBusy": True}}, worker={"concurrency": 1, "batchSize": 1}))
    pods = namespace.runs(2)
    with database.connect() as blocker:
        blocker.execute("LOCK TABLE stockholder IN ACCESS EXCLUSIVE MODE")
        producer.enqueue(companies.make(1, seed=37))
        until(lambda: holder(redis, pods), "one of them works", 20)
        busy = holder(redis, pods)
        namespace.kubectl("scale", "jobqueue/companies", "--replicas=0")
        namespace.scales(1, within=20)
        namespace.reaches("ScaledToTarget", "False", "ProtectBusy", within=20)
        until(lambda: len(namespace.pods()) == 1, "the idle one goes", 30, 0.05)
        assert namespace.pods()[0]["metadata"]["name"] == busy
        blocker.rollback()
    namespace.scales(0, within=20)
    assert database.counts()[0] == 1
