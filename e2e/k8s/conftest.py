"""Fixtures of the tests on a cluster: the cluster that KUBECONFIG names, or one of our own where it names none.

Each test has a namespace, a Redis and (where it wants one) a database of its own. What is in the namespace is printed
when the test fails.
"""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "e2e"))

from harness import databases, kube, operators  # noqa: E402
from harness.measured import measure, report  # noqa: E402, F401
from harness.producer import Producer  # noqa: E402
from harness.redis_server import RedisServer  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--process", action="store_true", help="an operator beside the cluster for each test, instead of the chart's")
    parser.addoption("--keep", action="store_true", help="leave the namespaces of failed tests in the cluster")


def pytest_report_header(config):
    return f"KUBECONFIG: {os.environ.get('KUBECONFIG', 'none given: e2e/cluster brings one up')}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" and report.failed:
        item.failed = True
        for namespace in getattr(item, "namespaces", []):
            report.sections.append((f"namespace {namespace.name}", namespace.diagnosis()))
        for each in getattr(item, "logs", []):
            report.sections.append((f"log of {each.name}", each.log() if callable(each.log) else each.output()))
    return report


def pytest_terminal_summary(terminalreporter):
    report(terminalreporter, "cluster.json")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    if not os.environ.get("KUBECONFIG"):
        pytest.exit("KUBECONFIG is not set; ./dev e2e brings a cluster up", returncode=2)
    cluster = kube.Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def crd(cluster):
    """The CustomResourceDefinition of this tree, applied in Helm's name, so that the chart may change it."""
    text = (ROOT / "crds" / "jobqueue.yaml").read_text(encoding="utf-8")
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=helm", "-f", "-", stdin=text)
    # Whoever applied it before owns nothing of it any more.
    definition = cluster.raw("apis/apiextensions.k8s.io/v1/customresourcedefinitions/jobqueues.jobqueue.dev")
    ours = [each for each in definition["metadata"]["managedFields"] if each["manager"] == "helm" or each.get("subresource")]
    cluster.kubectl("patch", "crd", "jobqueues.jobqueue.dev", "--type=json", "-p",
                    json.dumps([{"op": "replace", "path": "/metadata/managedFields", "value": ours}]))
    cluster.kubectl("wait", "--for=condition=Established", "crd/jobqueues.jobqueue.dev", "--timeout=30s")


@pytest.fixture
def namespaces(request, cluster):
    """Makes namespaces and removes them after the test."""
    request.node.namespaces = made = []

    def make(suffix="", **labels):
        stem = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")[:30]
        namespace = kube.Namespace(cluster, f"e2e-{stem}{suffix}-{os.urandom(2).hex()}", labels)
        made.append(namespace)
        return namespace
    yield make
    if request.config.getoption("--keep") and getattr(request.node, "failed", False):
        return
    for namespace in made:
        try:
            namespace.remove()
        except (kube.Failed, subprocess.TimeoutExpired) as error:
            print(f"{namespace.name} is left behind: {error}")


@pytest.fixture
def namespace(namespaces):
    return namespaces()


@pytest.fixture(scope="session")
def host(cluster):
    """The address of this machine as pods see it."""
    return cluster.host_ip()


@pytest.fixture
def redis_server(tmp_path, host):
    """Reached by pods; forgets nothing that it has acknowledged."""
    server = RedisServer(tmp_path / "redis", durable=True, host=host)
    yield server
    server.stop()


@pytest.fixture
def redis(redis_server):
    return redis_server.client()


@pytest.fixture(scope="session")
def database_servers(host):
    """Started when a test first wants one; all tests share them and have a database each."""
    started = {}
    with tempfile.TemporaryDirectory(prefix="jobqueue-databases-") as directory:
        def get(kind):
            if kind not in started:
                started[kind] = databases.start(kind, Path(directory) / kind, host)
            return started[kind]
        yield get
        for server in started.values():
            server.stop()


@pytest.fixture
def database(request, database_servers):
    """A database of the test's own, with the example's tables; `indirect` parameters name the kind."""
    server = database_servers(getattr(request, "param", "postgres"))
    return server.sibling(f"e2e_{os.urandom(4).hex()}")


@pytest.fixture
def warehouse(namespace, redis_server, database):
    """The Secret that the example names."""
    namespace.secret("warehouse", redis=redis_server.url, database=database.remote_url)


@pytest.fixture
def producer(redis):
    return Producer(redis)


@pytest.fixture(scope="session")
def images(cluster):
    """The images of this tree on the nodes, where E2E_LOAD says how; else they are taken for present."""
    load = os.environ.get("E2E_LOAD", "").split()
    archives = [str(path) for path in sorted((ROOT / "target" / "images").glob("*.tar"))]
    if load and archives:
        kube.run([*load, *archives], seconds=300)


@pytest.fixture(scope="session")
def release(request, cluster, crd, images):
    """The operator as the chart installs it, for the whole cluster."""
    release = operators.Release(cluster)
    was_there = release.installed()
    release.install()
    yield release
    if not was_there and not request.config.getoption("--keep"):
        release.uninstall()


@pytest.fixture
def operator(request, crd, images, namespace, tmp_path):
    """An operator that serves the test's namespace: the chart's, or with `--process` a process beside the cluster."""
    if request.config.getoption("--process"):
        process = operators.OperatorProcess(namespace, tmp_path)
        request.node.logs = [process]
        yield process
        process.stop()
        return
    release = request.getfixturevalue("release")
    request.node.logs = [release]
    yield release


@pytest.fixture(scope="module")
def no_release(request, crd, images):
    """The chart's operator steps back while a module's tests bring their own."""
    if request.config.getoption("--process"):
        yield
        return
    release = request.getfixturevalue("release")
    release.away()
    yield
    release.back()


@pytest.fixture
def crew(request, namespace, tmp_path, no_release):
    """Starts operators as processes, for the test's namespace."""
    request.node.logs = started = []

    def start(name):
        process = operators.OperatorProcess(namespace, tmp_path, name)
        started.append(process)
        return process
    yield start
    for process in started:
        if process.alive():
            process.send(signal.SIGCONT)
            process.stop()
