"""Operators that die, stand by or freeze, and an API server that is away: replicas never flap.

Workers go on meanwhile. The operators run as processes beside the cluster, so that signals reach them on any cluster;
the chart's operator is away.
"""

import signal
import time

import pytest

from e2e.harness import backlog, companies
from e2e.harness.companies import Expected
from e2e.harness.kube import conditions, replicas
from e2e.harness.manifests import companies as manifest
from e2e.harness.manifests import manual
from e2e.harness.operators import lease_holder
from e2e.harness.waiting import until

pytestmark = [pytest.mark.own_operator, pytest.mark.usefixtures("warehouse")]

CONVERGES = 10.0


def leads(namespace, name, within=20.0):
    until(
        lambda: lease_holder(namespace) == name, lambda: f"{name} leads; it is {lease_holder(namespace)}", within, 0.05
    )


def finished(redis, database, expected, seconds=60):
    until(
        lambda: backlog.drained(redis) and database.counts()[:2] == (expected.companies, expected.partners),
        lambda: f"{backlog.read(redis)} {database.counts()} of {expected.companies, expected.partners}",
        seconds,
        0.1,
    )


def writes(watch):
    """Numbers of workers that were ever asked for, in order."""
    return watch.values(replicas)


def rises_once_to(top, steps):
    """From none to `top` in one step, and from there only down."""
    return steps[:2] == [0, top] and steps[1:] == sorted(steps[1:], reverse=True)


@pytest.mark.takes(30)
def test_killed_and_started_again(namespace, start_operator, redis, database, producer):
    """At several moments: before it has done anything, in the middle of a scale-up, with everything at rest."""
    first = start_operator("first")
    first.kill()
    namespace.apply(manifest(scaling={"targets": {"jobsPerWorker": 100, "drainSeconds": None}}))
    second = start_operator("second")
    namespace.reaches("Ready", "True", within=20)
    lines = companies.make(400, seed=21)
    with namespace.cluster.watch("deployments", namespace.name, "companies-worker") as watch:
        producer.enqueue(lines)
        namespace.scales(4, within=5)
        second.kill()
        finished(redis, database, Expected(lines))
        assert len(namespace.pods()) == 4, "nobody takes the workers away while no operator runs"
        third = start_operator("third")
        leads(namespace, "third")
        namespace.scales(0, within=CONVERGES + 10)
        until(lambda: not namespace.pods(), "no pod is left", 30, 0.1)
        assert rises_once_to(4, writes(watch)), writes(watch)
    third.kill()
    fourth = start_operator("fourth")
    leads(namespace, "fourth")
    more = companies.make(100, seed=22)
    producer.enqueue(more, first=1000)
    namespace.scales(1, within=CONVERGES)
    finished(redis, database, Expected(lines + more))
    assert fourth.alive()


@pytest.mark.takes(15)
def test_killed_at_random_moments(namespace, start_operator, redis, database, producer, measure):
    """Killed again and again while a backlog comes and goes; a fresh one always agrees with the one before."""
    rng_delays = [0.05, 0.2, 0.4, 0.7, 1.0]
    namespace.apply(manual(2))
    lines = companies.make(2000, seed=23)
    with namespace.cluster.watch("deployments", namespace.name, "companies-worker") as watch:
        for number, delay in enumerate(rng_delays):
            operator = start_operator(f"operator{number}")
            producer.enqueue(lines[number * 400 : (number + 1) * 400], first=number * 400)
            end = time.monotonic() + delay
            until(lambda end=end: time.monotonic() > end, "the moment", 5)
            operator.kill()
        last = start_operator("last")
        leads(namespace, "last")
        namespace.scales(2, within=CONVERGES)
        finished(redis, database, Expected(lines))
        assert set(writes(watch)) <= {2}, writes(watch)
    assert last.alive()
    measure(kills=len(rng_delays))


def test_shutdown_hands_over_at_once(namespace, start_operator, measure):
    one = start_operator("one")
    leads(namespace, "one")
    start_operator("two")
    namespace.apply(manifest())
    before = namespace.reaches("Ready", "True", "Idle")
    with namespace.cluster.watch("jobqueues", namespace.name, "companies") as watch:
        began = time.monotonic()
        one.send(signal.SIGTERM)
        assert one.wait(10) == 0
        leads(namespace, "two", within=3)
        measure(handover=time.monotonic() - began)
        namespace.patch({"spec": {"scaling": {"minReplicas": 1}}})
        namespace.scales(1, within=CONVERGES)
        namespace.reaches("WorkersAvailable", "True", within=30)
        for kind in ("Ready", "QueueReachable", "Stalled"):
            states = watch.values(lambda queue, kind=kind: conditions(queue)[kind]["status"])
            assert len(states) == 1, f"{kind} stays what it was while another takes over: {states}"
    assert conditions(namespace.queue())["Ready"]["lastTransitionTime"] == before["lastTransitionTime"]


def test_two_at_once(namespace, start_operator, redis, database, producer):
    """One leads; the other writes nothing."""
    start_operator("one")
    leads(namespace, "one")
    two = start_operator("two")
    namespace.apply(manifest(scaling={"targets": {"jobsPerWorker": 100, "drainSeconds": None}}))
    namespace.reaches("Ready", "True")
    lines = companies.make(300, seed=24)
    with namespace.cluster.watch("deployments", namespace.name, "companies-worker") as watch:
        producer.enqueue(lines)
        namespace.scales(3, within=5)
        finished(redis, database, Expected(lines))
        namespace.scales(0, within=30)
        assert rises_once_to(3, writes(watch)), writes(watch)
    assert lease_holder(namespace) == "one" and two.alive()


@pytest.mark.takes(14)
def test_the_leader_is_paused_past_its_lease(namespace, start_operator, redis, database, producer, measure):
    one = start_operator("one")
    leads(namespace, "one")
    start_operator("two")
    namespace.apply(manual(2))
    namespace.runs(2)
    with namespace.cluster.watch("deployments", namespace.name, "companies-worker") as watch:
        one.send(signal.SIGSTOP)
        began = time.monotonic()
        lines = companies.make(200, seed=25)
        producer.enqueue(lines)
        finished(redis, database, Expected(lines))
        leads(namespace, "two", within=25)
        measure(takeover=time.monotonic() - began)
        namespace.kubectl("scale", "jobqueue/companies", "--replicas=3")
        namespace.scales(3, within=CONVERGES)
        generation = namespace.deployment()["metadata"]["generation"]
        one.send(signal.SIGCONT)
        until(lambda: "leading=false" in one.output(), lambda: f"it sees that it leads no more\n{one.output()}", 20)
        namespace.runs(3)
        assert lease_holder(namespace) == "two"
        assert namespace.deployment()["metadata"]["generation"] == generation, "the one that was away wrote nothing"
        assert writes(watch) == [2, 3], writes(watch)


@pytest.mark.alone
def test_the_api_server_restarts(control_plane, namespace, start_operator, redis, database, producer, measure):
    operator = start_operator("one")
    leads(namespace, "one")
    namespace.apply(manifest(scaling={"minReplicas": 1, "targets": {"jobsPerWorker": 200, "drainSeconds": None}}))
    before = namespace.runs(1)
    lines = companies.make(600, seed=26)
    expected = Expected(lines)
    with namespace.cluster.watch("deployments", namespace.name, "companies-worker") as watch:
        with database.connect() as blocker:  # the jobs take as long as we want
            blocker.execute("LOCK TABLE stockholder IN ACCESS EXCLUSIVE MODE")
            control_plane("restart", "apiserver")
            producer.enqueue(lines)
            until(namespace.cluster.answers, "the API server answers again", 60)
            began = time.monotonic()
            namespace.scales(3, within=CONVERGES)
            converged = time.monotonic() - began
            blocker.rollback()
        finished(redis, database, expected)
        namespace.scales(1, within=30)
        seen = writes(watch)
        assert max(seen) == 3 and seen[-1] == 1 and len(seen) <= 5, seen
    assert operator.alive()
    pods = namespace.cluster.get("pods", namespace=namespace.name, selector="jobqueue.dev/queue=companies")
    mine = [pod for pod in pods if pod["metadata"]["uid"] == before[0]["metadata"]["uid"]]
    assert all(status["restartCount"] == 0 for pod in mine for status in pod["status"]["containerStatuses"])
    namespace.reaches("Ready", "True")
    measure(converged=converged)


def test_a_malformed_object_stops_nobody_else(namespace, start_operator, cluster):
    """One whose spec no rule lets in: written behind the rules' back, as an older version of them would have let it
    in."""
    start_operator("one")
    leads(namespace, "one")
    namespace.apply(manifest("broken", worker={"template": {"spec": {"containers": "none"}}}))
    namespace.apply(manifest())
    namespace.reaches("Stalled", "True", "InvalidSpec", name="broken")
    namespace.reaches("Ready", "True")
    assert conditions(namespace.queue())["Ready"]["reason"] == "Idle"
