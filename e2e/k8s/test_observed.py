"""What others make of what operator and workers tell: a real Prometheus of the metrics, a collector of the traces."""

import itertools
import json
import math
import re
import socket
import time

import pytest

from e2e.harness import ROOT, backlog, companies
from e2e.harness.collector import Collector
from e2e.harness.manifests import companies as manifest
from e2e.harness.prometheus import Prometheus
from e2e.harness.waiting import until

pytestmark = [pytest.mark.own_operator, pytest.mark.usefixtures("warehouse")]

DASHBOARDS = sorted((ROOT / "charts/jobqueue-operator/files/dashboards").glob("*.json"))
# Counters whose labels say what went wrong have no series until it does.
OF_FAULTS = {
    "jobqueue_worker_database_errors_total",
    "jobqueue_worker_redis_errors_total",
    "jobqueue_worker_maintained_jobs_total",
}
SCALING = {"targets": {"jobsPerWorker": 100, "drainSeconds": None}}


def expressions(namespace):
    """Each expression of the dashboards, as Grafana would ask for it."""
    variables = {"$namespace": namespace.name, "$jobqueue": "companies", "$__rate_interval": "1m"}
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                expression = target["expr"]
                for name, value in variables.items():
                    expression = expression.replace(name, value)
                assert "$" not in expression, expression
                yield f"{path.stem}: {panel['title']}", expression


def metrics_of(expression):
    return set(re.findall(r"\bjobqueue_(?:operator|worker)_\w+", expression))


@pytest.fixture
def prometheus(namespace, tmp_path):
    """Scrapes one operator, and the pods that are handed to it later, through the API server."""
    pods = tmp_path / "pods.json"
    pods.write_text("[]", encoding="utf-8")
    started = []

    def start(operator):
        scrapes = [
            {
                "job_name": "operator",
                "honor_labels": True,
                "static_configs": [{"targets": [f"127.0.0.1:{operator.port}"]}],
            },
            {"job_name": "workers", "file_sd_configs": [{"files": [str(pods)], "refresh_interval": "1s"}]},
        ]
        started.append(Prometheus(tmp_path / "prometheus", scrapes))
        return started[0]

    def scrape_workers():
        """As the PodMonitor of docs/metrics.md has them."""
        made = []
        for pod in namespace.pods():
            name = pod["metadata"]["name"]
            path = f"/api/v1/namespaces/{namespace.name}/pods/{name}:9090/proxy/metrics"
            labels = {"namespace": namespace.name, "pod": name, "jobqueue_dev_queue": "companies"}
            made.append(
                {
                    "targets": [f"127.0.0.1:{namespace.cluster.port}"],
                    "labels": {**labels, "__metrics_path__": path, "instance": name},
                }
            )
        pods.write_text(json.dumps(made), encoding="utf-8")
        return len(made)

    yield start, scrape_workers
    for each in started:
        each.stop()


@pytest.mark.takes(25)
def test_every_expression_of_the_dashboards_has_data(namespace, start_operator, prometheus, redis, producer):
    start, scrape_workers = prometheus
    asked = start(start_operator("operator"))
    namespace.apply(manifest(scaling=SCALING))
    namespace.reaches("Ready", "True", within=20)
    scraped = f'jobqueue_operator_queue_reachable{{namespace="{namespace.name}"}}'
    until(lambda: asked.query(scraped), "the operator is scraped", 20, 0.2)
    # More of them fail than succeed, so that the queue is Degraded.
    lines = ["no record"] * 200 + companies.make(60, seed=94)
    producer.enqueue(lines)
    namespace.scales(3, within=5)

    def silent():
        """Expressions without an answer although all their metrics are there, and metrics that are not there."""
        there = {
            series["metric"]["__name__"] for series in asked.query('group by (__name__) ({__name__=~"jobqueue_.+"})')
        }
        empty, absent = [], set()
        for where, expression in expressions(namespace):
            lacking = {name for name in metrics_of(expression) if name not in there}
            values = [float(series["value"][1]) for series in asked.query(expression)]
            absent |= lacking
            if not lacking and all(math.isnan(value) for value in values):
                empty.append(f"{where}: {expression}")
        return empty, absent

    waves = itertools.count(1)

    def answered():
        # More jobs while workers are scraped: what they did before has no rate.
        scrape_workers()
        producer.enqueue(lines, first=1000 * next(waves))
        empty, absent = silent()
        return not empty and absent <= OF_FAULTS

    until(answered, lambda: "no data for {}; no series of {}".format(*silent()), 40, 1.0)


@pytest.fixture(params=["takes", "hangs", "refuses"])
def collector(request):
    """Where traces go: a collector, one that is connected to and never answers, one that is away."""
    if request.param == "takes":
        listening = Collector()
        yield listening.url, listening
        listening.close()
        return
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if request.param == "hangs":
            listener.listen(64)
        yield f"http://user:hidden@127.0.0.1:{listener.getsockname()[1]}", None


@pytest.mark.takes(15)
def test_a_decision_is_traced_and_waits_for_no_collector(namespace, start_operator, redis, producer, collector):
    url, listening = collector
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_BSP_MAX_QUEUE_SIZE": "16",
        "OTEL_RESOURCE_ATTRIBUTES": "k8s.cluster.name=test",
    }
    operator = start_operator("operator", environment=environment)
    namespace.apply(manifest(scaling=SCALING))
    namespace.reaches("Ready", "True", "Idle", within=20)
    producer.enqueue(companies.make(250, seed=95))
    began = time.monotonic()
    namespace.scales(3, within=5)
    took = time.monotonic() - began
    assert took < 2, f"{took:.1f} s"
    if listening:
        assert_told(listening, namespace)
    until(lambda: backlog.drained(redis), "the jobs are done", 30, 0.1)
    stopped = time.monotonic()
    assert operator.stop() == 0, operator.output()
    assert time.monotonic() - stopped < 6, "it ends although nobody takes its spans"
    assert "hidden" not in operator.output()
    if not listening:
        assert operator.output().count("the collector does not take traces") <= 1


def assert_told(collector, namespace):
    """The span of the change from none to three, its parts, and the reconciles of the queue."""
    ours = {"k8s.namespace.name": namespace.name, "jobqueue.name": "companies"}

    def scaled():
        spans = [span for span in collector.named("scale") if ours.items() <= span.attributes.items()]
        return [span for span in spans if span.attributes["jobqueue.workers.to"] == 3]

    [span] = until(scaled, lambda: f"a span of the change; there is {collector.spans}", 10, 0.1)
    expected = {"jobqueue.workers.from": 0, "jobqueue.reason": "JobsPerWorker", "jobqueue.waiting": 250}
    assert expected.items() <= span.attributes.items(), span
    assert "250 jobs waiting" in span.attributes["jobqueue.message"]
    assert {"jobqueue.running", "jobqueue.failed", "jobqueue.oldest_wait_seconds"} <= span.attributes.keys()
    assert not span.parent
    parts = {each.name: each for each in collector.spans if each.parent == span.id}
    assert parts.keys() == {"poll", "write"} and {each.trace for each in parts.values()} == {span.trace}
    poll, write = parts["poll"], parts["write"]
    assert span.began <= poll.began <= poll.ended <= write.ended <= span.ended + 1_000_000
    assert span.resource["service.name"] == "jobqueue-operator"
    assert span.resource["service.instance.id"] == "operator"
    assert span.resource["k8s.cluster.name"] == "test"
    reconciles = [each for each in collector.named("reconcile") if ours.items() <= each.attributes.items()]
    assert reconciles and all(each.ended >= each.began for each in reconciles)
