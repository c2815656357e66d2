"""The main job on a cluster: a file becomes rows through real rq, while workers scale up and down to zero."""

import itertools
import subprocess
import sys
import time

import pytest

from e2e.harness import backlog, companies
from e2e.harness.companies import EXAMPLE, Expected
from e2e.harness.kube import conditions, replicas
from e2e.harness.manifests import companies as manifest
from e2e.harness.waiting import until

RECORDS = 20_000


def cells(namespace, wide=False):
    """What `kubectl get jobq` shows of the one queue, by column."""
    header, row = namespace.kubectl("get", "jobq", *(["-o", "wide"] if wide else [])).splitlines()
    starts = [header.index(name) for name in header.split()]
    ends = [*starts[1:], None]
    return {name: row[start:end].strip() for name, start, end in zip(header.split(), starts, ends, strict=True)}


def produce(lines, redis_server):
    """The example's producer: rq's own `enqueue`, in another process as in real life."""
    return subprocess.Popen(
        [sys.executable, str(EXAMPLE / "produce.py"), "-", "--redis", redis_server.url, "--batch", "500"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    )


def shows(namespace, wide=False, **values):
    """Do the columns of `kubectl get jobq` have these values?"""
    shown = cells(namespace, wide)
    assert {column: shown[column] for column in values} == values


def apply_example(namespace, database):
    """As the README says it, but for the window that keeps workers for a minute. No worker is there yet."""
    if database.kind == "postgres":
        namespace.kubectl("apply", "-f", str(EXAMPLE))
        namespace.patch({"spec": {"scaling": {"scaleDown": {"stabilizationSeconds": 3}}}})
    else:
        namespace.apply(manifest(queue={"names": ["companies-urgent", "companies"]}))
    namespace.kubectl("wait", "--for=condition=Ready", "jobqueue/companies", "--timeout=30s")
    namespace.reaches("Ready", "True", "Idle")
    assert not namespace.pods()
    shows(namespace, READY="True", MODE="Auto", WORKERS="0", DESIRED="0", REASON="Idle")


def wait_for_rows(namespace, redis, database, expected):
    """Until all jobs ended and every company is there."""

    def done():
        now = backlog.read(redis)
        return now.waiting == now.running == now.scheduled == 0 and database.counts()[0] == expected.companies

    def problem():
        counts = f"{backlog.read(redis)}, {database.counts()} of {expected.companies}"
        return f"all rows: {counts}\n{namespace.conditions_text()}"

    until(done, problem, 240, 0.5)


def check_rows(redis, database, expected):
    """The database has exactly the expected rows, and the other jobs failed."""
    assert database.counts() == (expected.companies, expected.partners, expected.companies)
    assert database.companies() == expected.rows
    assert backlog.read(redis).failed == expected.failed


def wait_until_idle(namespace):
    """No worker and no pod is left, and the conditions say so."""
    namespace.scales(0, within=60)
    until(lambda: not namespace.cluster.get("pods", namespace=namespace.name), "no pod is left", 60, 0.1)
    namespace.reaches("Ready", "True", "Idle", within=20)
    namespace.reaches("WorkersAvailable", "True", "AsSpecified")
    namespace.reaches("ScaledToTarget", "True", "OnTarget")


def check_status(namespace, expected):
    """What the status, the columns and the events say in the end."""
    queue = namespace.queue()
    assert all(each["observedGeneration"] == queue["metadata"]["generation"] for each in conditions(queue).values())
    assert queue["status"]["lastScale"]["to"] == 0 and queue["status"]["lastScale"]["message"]
    until(
        lambda: namespace.queue()["status"]["queue"]["failed"] == expected.failed,
        "the failed jobs are in the status",
        20,
        0.2,
    )
    shows(namespace, wide=True, READY="True", WORKERS="0", WAITING="0", RUNNING="0", FAILED=str(expected.failed))
    reasons = {event["reason"] for event in namespace.events()}
    assert {"ScaledUp", "ScaledDown"} <= reasons, reasons


@pytest.mark.alone
@pytest.mark.takes(40)
@pytest.mark.usefixtures("operator", "warehouse")
@pytest.mark.parametrize("database", ["postgres", "mariadb"], indirect=True)
def test_a_backlog_becomes_rows(namespace, redis_server, redis, database, measure):
    apply_example(namespace, database)
    lines = companies.make(RECORDS, seed=11, bad=0.01)
    expected = Expected(lines)
    # Of jobs that come one after the other, one worker may be all that it takes: here they are all there.
    namespace.patch({"spec": {"replicas": 0, "scaling": {"mode": "Manual"}}})
    with namespace.cluster.watch("deployments", namespace.name, "companies-worker") as watch:
        producer = produce(lines, redis_server)
        producer.communicate("\n".join(lines), timeout=300)
        assert producer.returncode == 0
        namespace.patch({"spec": {"scaling": {"mode": "Auto"}}})
        began = time.monotonic()
        namespace.scales(lambda number: number > 0, within=5)
        reaction = time.monotonic() - began
        until(namespace.ready_pods, "the first worker is ready", 60, 0.1)
        first_ready = time.monotonic() - began
        namespace.reaches("QueueReachable", "True", "Reachable", within=10)
        wait_for_rows(namespace, redis, database, expected)
        seconds = time.monotonic() - began
        check_rows(redis, database, expected)
        namespace.reaches("DatabaseReachable", "True", "Reachable", within=20)
        wait_until_idle(namespace)
        steps = watch.values(replicas)
    assert max(steps) > 1, steps
    assert turns(steps) <= 1, f"up, then down, and never to and fro: {steps}"
    check_status(namespace, expected)
    measure(
        records=RECORDS,
        most_workers=max(steps),
        first_patch=reaction,
        first_ready=first_ready,
        all_rows=seconds,
        companies=expected.companies,
        partners=expected.partners,
        failed=expected.failed,
        steps="-".join(map(str, steps)),
    )


def turns(steps):
    """How often a series changes its direction."""
    signs = [later > earlier for earlier, later in itertools.pairwise(steps)]
    return sum(one != other for one, other in itertools.pairwise(signs))
