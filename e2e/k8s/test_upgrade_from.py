"""An upgrade of a cluster at work from an earlier version to this tree, and back: `./dev upgrade-from`.

The earlier version is a real one: its chart, its operator and its workers. Jobs arrive all the time. It takes minutes,
and is collected only if E2E_EARLIER names an earlier version.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from e2e.harness import backlog, companies
from e2e.harness.companies import Expected
from e2e.harness.earlier import Earlier, PlainRelease
from e2e.harness.kube import conditions
from e2e.harness.manifests import companies as manifest
from e2e.harness.manifests import merged
from e2e.harness.producer import Producer
from e2e.harness.waiting import until

pytestmark = pytest.mark.alone

LINES = 5000  # for each queue, at most
BEGINNING = 600
CRD = "jobqueues.jobqueue.dev"
MANUAL = {"scaling": {"mode": "Manual"}}
BUSY = {"scaling": {"minReplicas": 1, "maxReplicas": 3, "scaleDown": {"protectBusy": True}}}
QUEUES = {
    "default": {"scaling": {"minReplicas": 1, "maxReplicas": 3}},
    "manual": {**MANUAL, "replicas": 2},
    "pinned": {**MANUAL, "replicas": 2},
    "protected": BUSY,
    "busy": BUSY,
    "paused": {"scaling": {"mode": "Paused"}},
}
# These name the image of the earlier version.
PINNED = ("pinned", "protected")
AT_WORK = tuple(name for name in QUEUES if name != "paused")
BROKEN = {"no_such_column": "record.x"}


class Load:
    """Adds jobs to all queues, from now until `end`."""

    def __init__(self, redis):
        self.redis, self.ended = redis, threading.Event()
        self.lines = {name: companies.make(LINES, seed=70 + number) for number, name in enumerate(QUEUES)}
        self.sent = dict.fromkeys(QUEUES, 0)
        self.producers = {name: Producer(redis, name) for name in QUEUES}
        for name in QUEUES:
            self._send(name, BEGINNING)
        self.thread = ThreadPoolExecutor(1)
        self.running = self.thread.submit(self._run)

    def _send(self, name, count):
        first = self.sent[name]
        some = self.lines[name][first : first + count]
        self.producers[name].enqueue(some, first=first, run=list(QUEUES).index(name))
        self.sent[name] += len(some)

    def _run(self):
        while not self.ended.wait(0.25):
            for name in QUEUES:
                self._send(name, 4)

    def end(self):
        """No more jobs; returns what all of them are to become."""
        self.ended.set()
        self.running.result()
        self.thread.shutdown()
        return Expected([line for name in QUEUES for line in self.lines[name][: self.sent[name]]])

    def done(self, name):
        return backlog.read(self.redis, name).finished

    def goes_on(self, name):
        """Until jobs of the queue have been finished that were not when this was called."""
        before = self.done(name)
        until(lambda: self.done(name) > before, lambda: f"{name} goes on: {backlog.read(self.redis, name)}", 60, 0.2)


@pytest.fixture
def earlier():
    version = Earlier()
    version.load_images()
    return version


@pytest.fixture
def release(request, cluster, images):
    """The release that is upgraded; nothing of it is left afterwards."""
    release = PlainRelease(cluster)
    assert not release.installed(), f"{release.name} is installed in this cluster: this test wants one without"
    request.node.logs = [release]
    yield release
    if release.installed():
        release.uninstall()
    cluster.kubectl("delete", "crd", CRD, "--ignore-not-found")


def uids(pods):
    return {pod["metadata"]["uid"] for pod in pods}


def template(namespace, name):
    return namespace.deployment(name)["spec"]["template"]


def image(namespace, name):
    return template(namespace, name)["spec"]["containers"][0]["image"]


def restarts(namespace):
    return {
        pod["metadata"]["name"]: status["restartCount"]
        for name in QUEUES
        for pod in namespace.pods(name)
        for status in pod["status"].get("containerStatuses", [])
        if status["restartCount"]
    }


def rolled(namespace, before):
    """Which queues have another pod template than `before`, once all rollouts are complete."""
    for name in AT_WORK:
        namespace.kubectl("rollout", "status", f"deployment/{name}-worker", "--timeout=120s", seconds=150)
    return {name for name in QUEUES if template(namespace, name) != before[name]}


def is_taken_over(namespace, name):
    """Whether an operator of this tree has applied the queue: it says for which generation."""
    return "jobqueue.dev/generation" in namespace.deployment(name)["metadata"]["annotations"]


def taken_over(namespace):
    missing = [name for name in QUEUES if not is_taken_over(namespace, name)]
    return not missing


def all_served(namespace):
    for name in AT_WORK:
        namespace.reaches("Ready", "True", name=name, within=90)


def edit_columns(namespace, name, columns):
    """Changes the recipe of a queue: columns of its first table; None removes one."""
    recipe = namespace.queue(name)["spec"]["ingest"]
    table = recipe[0]["tables"][0]
    table["columns"] = merged(table["columns"], columns)
    namespace.patch({"spec": {"ingest": recipe}}, name=name)


def break_recipe(namespace, name):
    edit_columns(namespace, name, BROKEN)


def repair_recipe(namespace, name):
    edit_columns(namespace, name, dict.fromkeys(BROKEN))


def install(namespace, release, earlier):
    """The earlier version with all queues, their workers ready; returns the pod templates and the pinned pods."""
    release.install_earlier(earlier)
    for name, spec in QUEUES.items():
        image_of = {"image": earlier.worker_image} if name in PINNED else {}
        common = {"queue": {"names": [name], "leaseSeconds": 15}, "worker": {"batchSize": 10, **image_of}}
        namespace.apply(manifest(name, **merged(spec, common)))
    for name in AT_WORK:
        until(lambda name=name: namespace.ready_pods(name), f"a worker of {name} is ready", 90, 0.2)
    until(lambda: namespace.deployment("paused"), "the paused queue has its Deployment")
    templates = {name: template(namespace, name) for name in QUEUES}
    assert all(image(namespace, name).endswith(earlier.tag) for name in QUEUES)
    assert not taken_over(namespace), "the earlier version does not differ from this tree"
    return templates


def upgrade(namespace, release, load, templates):
    """Only the default image rolls workers; what is pinned keeps its pods and goes on."""
    pods = uids(namespace.runs(2, name="pinned"))
    with namespace.cluster.watch("deployments", namespace.name, "protected-worker") as watch:
        release.upgrade()
        until(lambda: taken_over(namespace), "the new operator has applied all queues", 120, 0.5)
        all_served(namespace)
        new = rolled(namespace, templates)
        assert len(watch.values(lambda each: each["spec"]["template"])) <= 1, "protectBusy is no reason to roll"
    assert new == set(QUEUES) - set(PINNED), new
    assert uids(namespace.runs(2, name="pinned")) == pods and not restarts(namespace), restarts(namespace)
    assert all(image(namespace, name) == release.worker_image() for name in new)
    for name in AT_WORK:
        load.goes_on(name)
    assert not namespace.pods("paused") and load.done("paused") == 0, "a queue that is paused at none stays so"
    return new


def broken_recipe(namespace, load, name):
    """It reaches no healthy pod, and `kubectl rollout undo` takes it back."""
    before, good = uids(namespace.ready_pods(name)), template(namespace, name)
    break_recipe(namespace, name)
    until(lambda: template(namespace, name) != good, "the recipe is rolled out", 30, 0.1)
    namespace.reaches("Stalled", "True", "InvalidRecipe", name=name, within=60)
    assert before & uids(namespace.ready_pods(name)), "workers with the recipe before go on"
    load.goes_on(name)
    namespace.kubectl("rollout", "undo", f"deployment/{name}-worker")
    namespace.reaches("Degraded", "True", "RolledBack", name=name, within=30)
    assert template(namespace, name)["spec"] == good["spec"]
    namespace.kubectl("rollout", "status", f"deployment/{name}-worker", "--timeout=60s")
    repair_recipe(namespace, name)
    namespace.reaches("Degraded", "False", name=name, within=30)
    namespace.reaches("Ready", "True", name=name, within=60)
    assert template(namespace, name)["spec"] == good["spec"], "the recipe before is what is wanted again"


def go_back(namespace, release, load, earlier, templates):
    """`helm rollback`: workers of the earlier version again; what is pinned keeps its pods."""
    pods = uids(namespace.runs(2, name="pinned"))
    release.roll_back()
    others = set(QUEUES) - set(PINNED)
    until(lambda: all(image(namespace, name).endswith(earlier.tag) for name in others), "the old image", 120, 0.5)
    all_served(namespace)
    assert not rolled(namespace, templates) & set(PINNED)
    assert uids(namespace.runs(2, name="pinned")) == pods and not restarts(namespace), restarts(namespace)
    for name in AT_WORK:
        load.goes_on(name)


def upgrade_with_broken_recipe(namespace, cluster, release, load, earlier):
    """A broken recipe that is applied while the operator is away is the new operator's first task."""
    cluster.kubectl("delete", "deployment", release.name, "--cascade=foreground", namespace=release.namespace)
    until(lambda: not release.pods(), "the operator is away", 60, 0.2)
    pods = uids(namespace.runs(2, name="pinned"))
    break_recipe(namespace, "pinned")
    release.upgrade()
    until(lambda: taken_over(namespace), "the new operator has applied all queues", 120, 0.5)
    namespace.reaches("Stalled", "True", "InvalidRecipe", name="pinned", within=60)
    assert uids(namespace.ready_pods("pinned")) & pods, "workers with the recipe before go on"
    load.goes_on("pinned")
    repair_recipe(namespace, "pinned")
    namespace.kubectl("rollout", "status", "deployment/pinned-worker", "--timeout=120s", seconds=150)
    namespace.reaches("Ready", "True", name="pinned", within=60)
    assert image(namespace, "pinned") == earlier.worker_image, "an old worker, with the config that this tree renders"
    assert "JOBQUEUE_CONFIG_VERSION" in str(template(namespace, "pinned"))
    namespace.runs(2, name="pinned")
    load.goes_on("pinned")
    assert not restarts(namespace), restarts(namespace)


@pytest.mark.usefixtures("warehouse")
def test_upgrade_and_back_under_load(cluster, release, namespace, database, redis, earlier, measure):
    templates = install(namespace, release, earlier)
    load = Load(redis)
    new = upgrade(namespace, release, load, templates)
    broken_recipe(namespace, load, "pinned")
    broken_recipe(namespace, load, "manual")
    go_back(namespace, release, load, earlier, templates)
    upgrade_with_broken_recipe(namespace, cluster, release, load, earlier)
    namespace.patch({"spec": {"scaling": {"mode": "Auto"}}}, name="paused")
    expected = load.end()
    until(
        lambda: all(backlog.drained(redis, name) for name in QUEUES) and database.counts()[0] >= expected.companies,
        lambda: f"{expected.companies} rows: {[backlog.read(redis, name) for name in QUEUES]} {database.counts()}",
        180,
        0.5,
    )
    assert database.counts() == (expected.companies, expected.partners, expected.companies)
    assert [backlog.read(redis, name).failed for name in QUEUES] == [0] * len(QUEUES)
    assert database.companies() == expected.rows
    assert conditions(namespace.queue("paused"))["Ready"]["status"] == "True"
    measure(jobs=sum(load.sent.values()), rolled=",".join(sorted(new)))
