"""Fixtures of the tests on a cluster: the cluster that KUBECONFIG names, or one of our own where it names none.

Each test has a namespace, a Redis and (where it wants one) a database of its own. What is in the namespace is printed
when the test fails.
"""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "e2e"))

from harness import kube  # noqa: E402

MEASURED = []


def pytest_addoption(parser):
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
    return report


@pytest.fixture
def measure(request):
    """Keeps numbers beside the test's name: `measure(jobs=100, seconds=2.5)`."""
    entry = {"test": request.node.name}
    MEASURED.append(entry)

    def note(**numbers):
        entry.update({name: round(value, 2) if isinstance(value, float) else value for name, value in numbers.items()})
    return note


def pytest_terminal_summary(terminalreporter):
    told = [entry for entry in MEASURED if len(entry) > 1]
    if told:
        terminalreporter.section("measured")
        for entry in told:
            terminalreporter.line("  ".join(f"{name} {value}" for name, value in entry.items()))
        target = ROOT / "target"
        target.mkdir(exist_ok=True)
        (target / "cluster.json").write_text(json.dumps(told, indent=1), encoding="utf-8")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    if not os.environ.get("KUBECONFIG"):
        pytest.exit("KUBECONFIG is not set; ./dev e2e brings a cluster up", returncode=2)
    cluster = kube.Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def crd(cluster):
    """The CustomResourceDefinition of this tree; marked as the chart's own, so that an install takes it over."""
    text = (ROOT / "crds" / "jobqueue.yaml").read_text(encoding="utf-8")
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=e2e", "-f", "-", stdin=text)
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
