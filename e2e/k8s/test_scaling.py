"""How the number of workers moves, and what is said and counted of it."""

import re
import time
import urllib.request

import pytest
import yaml

from e2e.harness import companies, kube
from e2e.harness.kube import conditions, replicas
from e2e.harness.manifests import companies as manifest
from e2e.harness.manifests import manual
from e2e.harness.operators import OperatorProcess
from e2e.harness.waiting import until

pytestmark = pytest.mark.usefixtures("operator")


@pytest.mark.takes(15)
@pytest.mark.usefixtures("warehouse")
def test_a_sawtooth_does_not_make_it_swing(namespace, redis, producer):
    """Every second 300 jobs, done in a moment: three workers come for the first, and what it turns out to take
    stays."""
    namespace.apply(
        manifest(
            scaling={
                "idleSeconds": 0,
                "targets": {"jobsPerWorker": 100, "drainSeconds": None, "maxWaitSeconds": None},
                "scaleDown": {"stabilizationSeconds": 6},
            }
        )
    )
    namespace.reaches("Ready", "True", "Idle")
    lines = companies.make(300, seed=91)
    with namespace.cluster.watch("deployments", namespace.name, "companies-worker") as watch:
        for tooth in range(8):
            end = time.monotonic() + 1
            producer.enqueue(lines, first=1000 * tooth)
            until(lambda end=end: time.monotonic() > end and not redis.llen("rq:queue:companies"), "the next tooth", 30)
        steps = watch.values(replicas)
        assert steps[:2] == [0, 3] and steps[1:] == sorted(steps[1:], reverse=True), (
            f"no way back up while the teeth come: {steps}"
        )
        assert steps[-1] > 0, f"none to zero: {steps}"
        namespace.scales(0, within=40)
        steps = watch.values(replicas)
    assert steps[:2] == [0, 3] and steps[-1] == 0 and steps[1:] == sorted(steps[1:], reverse=True), steps


@pytest.mark.usefixtures("warehouse")
def test_what_is_said_of_a_change(namespace, redis, producer):
    namespace.apply(manifest(scaling={"targets": {"jobsPerWorker": 100, "drainSeconds": None}}))
    namespace.reaches("Ready", "True", "Idle")
    producer.enqueue(companies.make(250, seed=92))
    namespace.scales(3, within=5)
    change = until(lambda: namespace.queue()["status"].get("lastScale"), "the change is in the status", 10, 0.05)
    assert (change["from"], change["to"], change["reason"]) == (0, 3, "JobsPerWorker"), change
    assert re.search(r"250 jobs waiting and running at 100 per worker take 3 workers", change["message"]), change
    events = until(lambda: [each for each in namespace.events() if each["reason"] == "ScaledUp"], "an event", 10, 0.1)
    assert "0 -> 3" in events[0]["message"]
    line = re.compile(r"Normal +ScaledUp .*0 -> 3 workers: 250 jobs waiting")
    described = namespace.kubectl("describe", "jobqueue", "companies").partition("\nEvents:")[2]
    assert line.search(described), f"events of kubectl describe:{described}"
    assert line.search(namespace.kubectl("events", "--for", "jobqueue/companies"))
    namespace.scales(0, within=40)
    until(lambda: namespace.queue()["status"]["lastScale"]["to"] == 0, "the way back is in the status", 10, 0.1)


@pytest.mark.takes(20)
@pytest.mark.usefixtures("warehouse")
def test_an_idle_queue_is_not_written(namespace):
    """The status speaks of changes: with none, nothing reaches the API server, although Redis is asked all the time."""
    namespace.apply(manifest())
    namespace.reaches("Ready", "True", "Idle")
    until(lambda: conditions(namespace.queue())["Reconciling"]["status"] == "False", "it is at rest", 10, 0.1)
    with namespace.cluster.watch("jobqueues", namespace.name, "companies") as watch:
        until(lambda: watch.seen, "the watch")
        end = time.monotonic() + 20  # longer than the fifteen seconds after which numbers are renewed
        until(lambda: time.monotonic() > end, "some time", 30, 0.5)
        assert len(watch.seen) <= 2, [each["status"] for each in watch.seen]


def metrics(operator, cluster):
    if isinstance(operator, OperatorProcess):
        with urllib.request.urlopen(f"http://127.0.0.1:{operator.port}/metrics", timeout=5) as answer:
            return answer.read().decode()
    pod = operator.pods()[0]["metadata"]["name"]
    return cluster.kubectl("get", "--raw", f"/api/v1/namespaces/{operator.namespace}/pods/{pod}:9090/proxy/metrics")


def test_metrics(namespace, cluster, operator, warehouse, redis, producer):
    namespace.apply(manifest(scaling={"targets": {"jobsPerWorker": 100, "drainSeconds": None}}))
    namespace.reaches("Ready", "True", "Idle")
    producer.enqueue(companies.make(200, seed=93))
    namespace.scales(2, within=5)
    mine = rf'namespace="{namespace.name}"'

    def missing_metrics():
        text = metrics(operator, cluster)
        # Reconciles by outcome, API writes, the time of a poll, gauges of the queue, decisions by reason, and the
        # reaction time.
        wanted = [
            r'^jobqueue_operator_reconciles\S*\{outcome="ok"\} [1-9]',
            r"^jobqueue_operator_api_\S+ [1-9]",
            r"^jobqueue_operator_sweep_\S*_count [1-9]",
            rf"^jobqueue_\S*waiting\S*\{{.*{mine}.*\}} \d",
            rf"^jobqueue_\S*desired\S*\{{.*{mine}.*\}} \d",
            r'^jobqueue_operator_sca\S*\{.*reason="JobsPerWorker".*\} [1-9]',
            r"^jobqueue_operator_reaction_\S*_count\S* [1-9]",
        ]
        return [each for each in wanted if not re.search(each, text, re.M)], text

    until(
        lambda: not missing_metrics()[0],
        lambda: "missing: " + "\n".join(missing_metrics()[0]) + "\n" + missing_metrics()[1],
        20,
        0.5,
    )
    namespace.kubectl("delete", "jobqueue", "companies")
    until(lambda: mine not in metrics(operator, cluster), "a deleted queue has no series", 15, 0.5)


def test_helm_waits_for_a_queue(namespace, warehouse, tmp_path):
    """`helm install --wait` reads the conditions: it ends well when the queue is served, and badly when it is
    stalled."""
    chart = tmp_path / "queue"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: queue\nversion: 0.1.0\n", encoding="utf-8")

    def install(release, queue, seconds):
        (chart / "templates" / "queue.yaml").write_text(yaml.safe_dump(queue, allow_unicode=True), encoding="utf-8")
        return kube.run(
            ["helm", "install", release, chart, "-n", namespace.name, "--wait", "--timeout", f"{seconds}s"],
            seconds=seconds + 30,
        )

    install("good", manual(1), 60)
    assert conditions(namespace.queue())["Ready"]["status"] == "True"
    with pytest.raises(kube.Failed):
        install("bad", manifest("bad", queue={"redis": {"urlSecretKeyRef": {"name": "nowhere"}}}), 10)
    assert conditions(namespace.queue("bad"))["Stalled"]["status"] == "True"
