"""A release's life with Helm 4 and 3: install, upgrade, roll back, uninstall. Needs a cluster; no image is run."""

import json

import pytest
import yaml

from e2e.harness import ROOT

from .rendering import CHART, Refused, run

CRD = "jobqueues.jobqueue.dev"
# What one release has once per cluster would meet an installation that is there.
NARROW = ["--set", "scope=Namespace", "--set", "rbac.aggregate=false"]


class Release:
    """One release of the chart, called `jobs`."""

    def __init__(self, helm, namespace):
        self.helm, self.namespace = helm, namespace

    def __call__(self, verb, *arguments):
        return run(self.helm, verb, "jobs", *arguments, "--namespace", self.namespace).stdout

    def install(self, *arguments):
        return self("install", CHART, *NARROW, *arguments)

    def upgrade(self, *arguments):
        return self("upgrade", CHART, *NARROW, *arguments)

    def replicas(self):
        return self.of("deployments")["jobs-jobqueue-operator"]["spec"]["replicas"]

    def of(self, kinds):
        """The objects in the release's namespace, by name."""
        found = run("kubectl", "get", kinds, "--namespace", self.namespace, "--output=json").stdout
        return {each["metadata"]["name"]: each for each in json.loads(found)["items"]}

    def revisions(self):
        found = json.loads(run(self.helm, "history", "jobs", "--namespace", self.namespace, "--output=json").stdout)
        return [each["revision"] for each in found]


def definition():
    found = run("kubectl", "get", "crd", CRD, "--ignore-not-found", "--output=json").stdout
    return json.loads(found) if found.strip() else None


@pytest.fixture
def no_crd():
    """The cluster has no CRD, and has none afterwards."""
    if definition():
        pytest.skip("this cluster has JobQueues already, which the test would remove")
    yield
    run("kubectl", "delete", "crd", CRD, "--ignore-not-found")


@pytest.fixture
def release(helm, namespace, no_crd):
    """Not installed yet."""
    yield Release(helm, namespace)
    run(helm, "uninstall", "jobs", "--namespace", namespace, "--ignore-not-found")


def test_install_upgrade_roll_back_and_uninstall(release):
    said = release.install()
    assert f"helm test jobs -n {release.namespace}" in said
    born = definition()
    assert born["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert release.replicas() == 1

    release.upgrade("--set", "replicas=2", "--set", "metrics.service=false")
    assert release.replicas() == 2
    assert list(release.of("poddisruptionbudgets")) == ["jobs-jobqueue-operator"]
    assert not release.of("services")

    release("rollback", "1")
    assert release.revisions() == [1, 2, 3]
    assert release.replicas() == 1
    assert not release.of("poddisruptionbudgets")
    assert release.of("services")

    release("uninstall")
    kept = definition()
    assert kept["metadata"]["uid"] == born["metadata"]["uid"]
    assert "deletionTimestamp" not in kept["metadata"]
    ours = "deployments,services,roles,rolebindings,serviceaccounts,leases"
    assert not [name for name in release.of(ours) if name.startswith("jobs")]


def test_an_upgrade_brings_the_crd_of_its_version(release, tmp_path):
    """Another version of the CRD is in the cluster, as after a `kubectl edit` or with an older chart."""
    release.install()
    change = {"spec": {"names": {"shortNames": ["other"]}}}
    run("kubectl", "patch", "crd", CRD, "--type=merge", "--patch", json.dumps(change))
    if release.helm == "helm":
        with pytest.raises(Refused, match=r"conflict.*shortNames"):
            release.upgrade()
        release.upgrade("--force-conflicts")
    else:
        release.upgrade()
    [generated] = yaml.safe_load_all((ROOT / "crds" / "jobqueue.yaml").read_text(encoding="utf-8"))
    assert definition()["spec"]["names"]["shortNames"] == generated["spec"]["names"]["shortNames"]


def test_a_crd_that_the_chart_no_longer_has_is_kept(release):
    release.install()
    born = definition()["metadata"]["uid"]
    release.upgrade("--set", "crds.install=false")
    assert definition()["metadata"]["uid"] == born
    # Neither version of Helm rolls back here: it looks for the CRD among the objects of the second revision.
    with pytest.raises(Refused, match="CustomResourceDefinition"):
        release("rollback", "1")
    release.upgrade("--set", "crds.install=true")
    assert definition()["metadata"]["uid"] == born
    release.upgrade("--set", "replicas=2")
    release("rollback")
    assert definition()["metadata"]["uid"] == born
    assert release.replicas() == 1


def test_a_crd_that_came_without_helm_is_taken_over_when_told_so(release):
    run("kubectl", "apply", "--server-side", "-f", ROOT / "crds" / "jobqueue.yaml")
    with pytest.raises(Refused, match="invalid ownership metadata"):
        release.install()
    release.install("--take-ownership")
    assert definition()["metadata"]["annotations"]["meta.helm.sh/release-name"] == "jobs"


def test_without_the_crd_the_release_leaves_it_alone(release):
    release.install("--set", "crds.install=false")
    assert not definition()


def test_a_misspelled_value_is_refused(release):
    with pytest.raises(Refused, match="watchNamespace"):
        release.install("--set", "watchNamespace=x")


@pytest.mark.parametrize("versions", [("helm3", "helm"), ("helm", "helm3")], ids=" then ".join)
def test_a_release_of_the_other_version_is_upgraded_and_rolled_back(versions, namespace, no_crd):
    first, second = (Release(each, namespace) for each in versions)
    first.install()
    try:
        second.upgrade("--set", "replicas=2", "--set", "metrics.service=false")
        assert second.replicas() == 2
        assert not second.of("services")
        second("rollback", "1")
        assert second.replicas() == 1
        assert second.of("services")
    finally:
        second("uninstall")
