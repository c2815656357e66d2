"""`helm upgrade` with another CRD, uninstall and install, under load: no job is lost, no worker replaced."""

import re
import shutil

import pytest
import yaml

from e2e.harness import backlog, companies
from e2e.harness.companies import Expected
from e2e.harness.kube import replicas
from e2e.harness.manifests import companies as manifest
from e2e.harness.manifests import load, manual, merged
from e2e.harness.operators import CHART
from e2e.harness.waiting import until


def uids(pods):
    return {pod["metadata"]["uid"] for pod in pods}


def restarts(pods):
    return sum(status["restartCount"] for pod in pods for status in pod["status"]["containerStatuses"])


@pytest.fixture
def next_chart(tmp_path):
    """This chart as its next version might be: another version, and a CRD with one more field and a longer bound."""
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    about = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    about["version"] = "0.2.0"
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about), encoding="utf-8")
    path = chart / "files" / "jobqueue.yaml"
    definition = load(path.read_text(encoding="utf-8"))
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["comment"] = {"type": "string", "maxLength": 100, "description": "Not of this version."}
    text = yaml.safe_dump(definition, sort_keys=False, width=10_000, allow_unicode=True)
    assert "\nmetadata:\n" in text, "the template of the chart looks for this line"
    path.write_text(text, encoding="utf-8")
    return chart


def field_is_known(cluster):
    definition = cluster.raw("apis/apiextensions.k8s.io/v1/customresourcedefinitions/jobqueues.jobqueue.dev")
    return (
        "comment" in definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    )


@pytest.mark.alone
@pytest.mark.usefixtures("warehouse")
def test_upgrade_uninstall_and_install_under_load(
    cluster, changed_release, namespace, database, redis, producer, next_chart, measure
):
    release = changed_release
    namespace.apply(manual(2, worker={"batchSize": 10}))
    namespace.apply(manifest("idle", queue={"names": ["idle"]}))
    workers = namespace.runs(2)
    namespace.reaches("Ready", "True", name="idle")
    lines = companies.make(6000, seed=61)
    expected = Expected(lines)
    with cluster.watch("deployments", namespace.name, "companies-worker") as watch:
        producer.enqueue(lines[:2000])
        assert not field_is_known(cluster)
        pods = uids(release.pods())
        release.install("podAnnotations.upgraded=yes", chart=next_chart)
        assert field_is_known(cluster)
        until(lambda: not pods & uids(release.pods()), "the operator itself is replaced", 60, 0.2)
        producer.enqueue(lines[2000:4000], first=2000)
        namespace.patch({"spec": {"comment": "kept"}})
        assert namespace.queue()["spec"]["comment"] == "kept"
        namespace.reaches("Ready", "True")
        assert uids(namespace.runs(2)) == uids(workers) and restarts(namespace.pods()) == 0, (
            "no worker is replaced by an upgrade"
        )

        said = release.uninstall()
        assert "jobqueues.jobqueue.dev" in said, "helm says what it keeps"
        until(lambda: not release.pods(), "the operator is gone", 30, 0.1)
        assert cluster.get("leases", release.name, release.namespace) is None, (
            "so that the next one need not wait for it to lapse"
        )
        assert namespace.queue() and namespace.queue("idle"), "the queues stay"
        producer.enqueue(lines[4000:], first=4000)
        until(
            lambda: backlog.drained(redis) and database.counts()[0] == expected.companies,
            lambda: f"workers go on without an operator: {backlog.read(redis)} {database.counts()}",
            90,
            0.2,
        )

        release.install()
        assert not field_is_known(cluster)
        namespace.reaches("Ready", "True")
        namespace.kubectl("scale", "jobqueue/companies", "--replicas=3")
        namespace.scales(3, within=10)
        assert uids(workers) <= uids(namespace.runs(3)) and restarts(namespace.pods()) == 0, "taken over as they were"
        assert watch.values(replicas) == [2, 3]
        assert len(watch.values(lambda each: each["spec"]["template"])) == 1, "the template never changed"
    assert database.counts() == (expected.companies, expected.partners, expected.companies)
    assert backlog.read(redis).failed == 0


@pytest.mark.alone
@pytest.mark.usefixtures("warehouse")
def test_a_broken_default_image_stops_at_the_first_queue(changed_release, namespace):
    """Its workers are replaced at a pace over queues, and those of a queue with an image of its own not at all."""
    release = changed_release
    own_image = release.worker_image()
    settings = {"scaling": {"mode": "Manual"}, "replicas": 1}
    names = ("companies", "others", "pinned")
    for name in names:
        worker = {"image": own_image} if name == "pinned" else {}
        namespace.apply(manifest(name, queue={"names": [name]}, worker=worker, **settings))
    before = {name: uids(namespace.runs(1, name=name)) for name in names}

    def image(name):
        return namespace.deployment(name)["spec"]["template"]["spec"]["containers"][0]["image"]

    release.install("workerImage.tag=broken", "operator.rollout.maxUnavailableQueues=1")
    until(lambda: "broken" in image("companies") + image("others"), "one is rolled out", 60, 0.2)
    rolled, waits = sorted(("companies", "others"), key=lambda name: "broken" not in image(name))
    namespace.reaches("Reconciling", "True", "RolloutQueued", name=waits, within=30)
    namespace.reaches("Ready", "True", name="pinned")
    assert "broken" not in image(waits) and image("pinned") == own_image
    for name in names:
        assert before[name] <= uids(namespace.pods(name)), f"the worker of {name} goes on"
    release.install()
    for name in names:
        namespace.reaches("Reconciling", "False", name=name, within=60)
        assert before[name] == uids(namespace.runs(1, name=name))
    assert rolled != waits


@pytest.mark.alone
def test_objects_of_an_older_definition_go_on(changed_release, namespace, redis_server, database, tmp_path):
    """A field that an older CRD did not know is absent from old objects: defaults fill in, and nothing is replaced."""
    release = changed_release
    chart = tmp_path / "old"
    shutil.copytree(CHART, chart)
    path = chart / "files" / "jobqueue.yaml"
    definition = load(path.read_text(encoding="utf-8"))
    scaling = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"][
        "scaling"
    ]
    scaling["properties"]["scaleDown"]["properties"].pop("protectBusy")
    scaling["default"]["scaleDown"].pop("protectBusy")
    scaling["properties"]["scaleDown"]["default"].pop("protectBusy")
    path.write_text(yaml.safe_dump(definition, sort_keys=False, width=10_000, allow_unicode=True), encoding="utf-8")
    release.install(chart=chart)
    namespace.secret("warehouse", redis=redis_server.url, database=database.remote_url)
    namespace.apply(merged(manual(1), {"spec": {"scaling": {"scaleDown": {"protectBusy": None}}}}))
    before = namespace.runs(1)
    assert "protectBusy" not in namespace.queue()["spec"]["scaling"]["scaleDown"]
    release.install()
    assert namespace.queue()["spec"]["scaling"]["scaleDown"]["protectBusy"] is False
    namespace.kubectl("scale", "jobqueue/companies", "--replicas=2")
    namespace.scales(2, within=10)
    assert uids(before) <= uids(namespace.runs(2))


def test_install_yaml_is_what_the_chart_renders(cluster, release):
    """The single file for those without Helm is accepted by the API server as it stands."""
    said = cluster.kubectl(
        "apply", "--dry-run=server", "--server-side", "--force-conflicts", "-f", str(CHART.parents[1] / "install.yaml")
    )
    assert re.search(r"deployment.apps/\S+ serverside-applied", said), said
