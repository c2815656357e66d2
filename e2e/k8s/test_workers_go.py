"""Worker pods that go in the middle of their jobs: nothing is lost, and nothing is there twice."""
import json
import os
import signal
import time
from pathlib import Path

import pytest

from harness import backlog, companies
from harness.companies import Expected
from harness.manifests import manual
from harness.waiting import until

pytestmark = pytest.mark.usefixtures("operator", "warehouse")


def deleted(namespace, pod):
    namespace.kubectl("delete", "pod", pod, "--wait=false")


def killed(namespace, pod):
    namespace.kubectl("delete", "pod", pod, "--grace-period=0", "--force")


def crashed(namespace, pod):
    """SIGKILL for the process itself; nobody tells it, and its container starts again. Where processes of pods are ours to see."""
    uid = namespace.cluster.get("pods", pod, namespace.name)["metadata"]["uid"]
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "comm").read_text().startswith("jobqueue-worker") and uid in (entry / "cgroup").read_text().replace("_", "-"):
                os.kill(int(entry.name), signal.SIGKILL)
                return
        except (FileNotFoundError, ProcessLookupError):
            continue
    pytest.skip("the processes of pods are not to be seen from here")


def evicted(namespace, pod):
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace.name}}
    namespace.kubectl("create", "--raw", f"/api/v1/namespaces/{namespace.name}/pods/{pod}/eviction", "-f", "-", stdin=json.dumps(body))


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
            until(lambda: not gone & {pod["metadata"]["uid"] for pod in namespace.pods()}, "the pod is on its way out", 20, 0.05)
        blocker.rollback()
    if how is scaled_away:
        until(lambda: not namespace.cluster.get("pods", namespace=namespace.name), "both are gone", 30, 0.1)
        now = backlog.read(redis)
        assert now.running == 0, f"what was not finished was given back: {now}"
        done = database.counts()[0]
        assert done + now.waiting + now.scheduled == len(lines), "nothing is lost meanwhile"
        namespace.kubectl("scale", "jobqueue/companies", "--replicas=2")
    until(lambda: backlog.drained(redis) and database.counts()[0] == expected.companies,
          lambda: f"{backlog.read(redis)} {database.counts()}", 60, 0.1)
    assert database.counts() == (expected.companies, expected.partners, expected.companies)
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
    until(lambda: backlog.drained(redis) and database.counts()[0] == expected.companies,
          lambda: f"{backlog.read(redis)} {database.counts()}", 60, 0.1)
    assert database.counts() == (expected.companies, expected.partners, expected.companies)
    assert backlog.read(redis).failed == 0
