"""Fixtures of the tests on a cluster: the cluster that KUBECONFIG names, or one of our own where it names none.

Each test has a namespace, a Redis and (where it wants one) a database of its own. What is in the namespace is printed
when the test fails.

`python -m e2e.k8s` runs the tests group by group, and makes what they share (`installation.py`). Plain pytest runs
them one after the other, and makes it itself.
"""

import os
import re
import signal
import tempfile
from pathlib import Path

import pytest

from e2e.harness import (
    ROOT,
    databases,
    earlier,
    installation,
    kube,
    measured,
    operators,
    python_image,
    second_attempts,
    shared,
)
from e2e.harness.producer import Producer
from e2e.harness.redis_server import RedisServer

from .groups import ALONE, GROUPS, OWN_OPERATOR, arranged, group_of, misplaced

# What `./dev upgrade-from` runs: it wants an earlier version, and a cluster without the operator.
collect_ignore = [] if os.environ.get(earlier.VARIABLE) else ["test_upgrade_from.py"]


def pytest_addoption(parser):
    parser.addoption(
        "--process", action="store_true", help="an operator beside the cluster for each test, instead of the chart's"
    )
    parser.addoption("--keep", action="store_true", help="leave the namespaces of failed tests in the cluster")
    parser.addoption("--group", choices=GROUPS, help="the tests of this group only")


def pytest_configure(config):
    second_attempts.register(config, (ALONE, OWN_OPERATOR))


def pytest_report_header(config):
    return f"KUBECONFIG: {os.environ.get('KUBECONFIG', 'none given: e2e/cluster brings one up')}"


def pytest_collection_modifyitems(config, items):
    process = config.getoption("--process")
    wrong = [problem for item in items for problem in misplaced(item, process)]
    if wrong:
        raise pytest.UsageError("tests in the wrong group:\n" + "\n".join(wrong))
    group = config.getoption("--group")
    others = [item for item in items if group not in (None, group_of(item, process))]
    if others:
        config.hook.pytest_deselected(items=others)
    items[:] = arranged([item for item in items if item not in others], process)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" and report.failed:
        item.failed = True
        namespaces = getattr(item, "namespaces", [])
        for namespace in namespaces:
            report.sections.append((f"namespace {namespace.name}", namespace.diagnosis()))
        for each in getattr(item, "logs", []):
            log = (
                each.log(about=[namespace.name for namespace in namespaces])
                if isinstance(each, operators.Release)
                else each.output()
            )
            report.sections.append((f"log of {each.name}", log))
    return report


def pytest_terminal_summary(terminalreporter):
    measured.report(terminalreporter, "cluster.json")


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
    if not shared.directory():
        installation.apply_crd(cluster)


@pytest.fixture
def namespaces(request, cluster):
    """Makes namespaces and removes them after the test."""
    request.node.namespaces = made = []
    request.node.failed = False  # an earlier attempt may have

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
            if shared.directory():
                namespace.clear()
                shared.note(installation.LEFT, namespace.name)
            else:
                namespace.remove()
        except OSError as error:
            print(f"{namespace.name} is left behind: {error}")


@pytest.fixture
def namespace(namespaces):
    return namespaces()


@pytest.fixture(scope="session")
def scratch_namespace(cluster, crd):
    """One namespace for objects that are only tried, never kept."""
    namespace = kube.Namespace(cluster, f"e2e-crd-{os.urandom(2).hex()}")
    yield namespace
    namespace.remove()


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
    if shared.directory():
        yield shared.take
        return
    started = {}
    with tempfile.TemporaryDirectory(prefix="jobqueue-databases-") as directory:

        def get(kind):
            if kind not in started:
                started[kind] = databases.start(kind, Path(directory) / kind, host, shared=True)
            return started[kind]

        yield get
        for server in started.values():
            server.stop()


@pytest.fixture
def database(request, database_servers):
    """A database of the test's own, with the example's tables; `indirect` parameters name the kind."""
    server = database_servers(getattr(request, "param", "postgres"))
    own = server.sibling(f"e2e_{os.urandom(4).hex()}")
    yield own
    own.hang_up()


@pytest.fixture
def warehouse(namespace, redis_server, database):
    """The Secret that the example names."""
    namespace.secret("warehouse", redis=redis_server.url, database=database.remote_url)


@pytest.fixture
def producer(redis):
    return Producer(redis)


@pytest.fixture(scope="session")
def images(cluster):
    """The images of this tree on the nodes."""
    if not shared.directory():
        installation.load_images()


@pytest.fixture(scope="session")
def python_image_on_nodes(tmp_path_factory):
    """Python and rq with the example's tasks: E2E_PYTHON_RQ_IMAGE, or one made here, on the project's own cluster."""
    given = os.environ.get("E2E_PYTHON_RQ_IMAGE")
    if given:
        return given
    if not os.environ.get("E2E_CLUSTER"):
        pytest.skip("no image of the example: set E2E_PYTHON_RQ_IMAGE")

    def make():
        tasks = ROOT / "examples" / "python-rq" / "tasks.py"
        directory = python_image.build(tmp_path_factory.mktemp("python-rq"), tasks)
        kube.run([os.environ["E2E_CLUSTER"], "image", "example/python-rq:1", directory], seconds=180)
        return "example/python-rq:1"

    return shared.once("python-image", make)


@pytest.fixture(scope="session")
def installed(request, cluster, crd, images):
    """The operator as the chart installs it, for the whole cluster; it may be away."""
    release = operators.Release(cluster)
    if shared.directory() and not request.config.getoption("--process"):
        yield release
        return
    was_there = release.installed()
    release.install()
    yield release
    release.may_change = True
    if was_there or request.config.getoption("--keep"):
        release.back()
    else:
        release.uninstall()


def others_run(request):
    """Do other tests use the cluster at the same time?"""
    return bool(shared.directory()) and request.config.getoption("--group") != ALONE


@pytest.fixture
def release(request, installed):
    """The operator as the chart installs it, at work. Tests that change it are `alone`."""
    installed.may_change = not others_run(request)
    installed.back()
    installed.may_change = group_of(request.node) == ALONE
    yield installed
    installed.may_change = True


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


@pytest.fixture
def no_release(request, crd, images):
    """The chart's operator is away: the test brings its own."""
    if request.config.getoption("--process"):
        return
    installed = request.getfixturevalue("installed")
    installed.may_change = not others_run(request)
    installed.away()


@pytest.fixture
def changed_release(release):
    """The chart's operator, to be changed. The chart of this tree is there again afterwards, whatever happens."""
    yield release
    if not release.is_this_tree:
        release.install()


@pytest.fixture
def control_plane():
    """Restarts parts of the project's own cluster: `control_plane("restart", "apiserver")`. Mark the test `alone`."""
    script = os.environ.get("E2E_CLUSTER")
    if not script:
        pytest.skip("only the project's own cluster has parts that may be stopped")
    return lambda *arguments: kube.run([script, *arguments], seconds=90)


@pytest.fixture
def start_operator(request, namespace, tmp_path, no_release):
    """Starts operators as processes, for the test's namespace and `further` ones."""
    request.node.logs = started = []

    def start(name, further=(), environment=None):
        process = operators.OperatorProcess(namespace, tmp_path, name, further, environment)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.alive():
            process.send(signal.SIGCONT)
            process.stop()
