"""The API server accepts what the chart renders. Needs a cluster; `./dev chart` provides one."""

import time

import pytest
import yaml

from e2e.harness import ROOT

from .rendering import CHART, VALUES, Refused, load, run


def warnings(done):
    """Unknown fields, and pods that "restricted" would refuse; how the CRD came into the cluster does not matter."""
    return [line for line in done.stderr.splitlines() if "last-applied-configuration" not in line]


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_dry_run(render, namespace, served, values):
    rendered = render(file=values, namespace=namespace)
    foreign = {each["kind"] for each in rendered.objects if each["apiVersion"].startswith("monitoring.coreos.com/")}
    known = [each for each in rendered.objects if each["kind"] not in foreign - served]
    # The pod of `helm test` is refused while its account is not there.
    for account in rendered.all("ServiceAccount"):
        run("kubectl", "create", "serviceaccount", account["metadata"]["name"], "--namespace", namespace)
    # kubectl takes no object of another namespace than the one that it is told.
    elsewhere = [each for each in known if each["metadata"].get("namespace", namespace) != namespace]
    here = [each for each in known if each not in elsewhere]
    for objects, flags in [(here, ["--namespace", namespace]), (elsewhere, [])]:
        if objects:
            command = ["kubectl", "apply", "--dry-run=server", "--server-side", "--force-conflicts", *flags, "-f", "-"]
            done = run(*command, stdin=yaml.safe_dump_all(objects))
            assert len(done.stdout.splitlines()) == len(objects)
            assert not warnings(done)


def test_plain_kubectl_takes_the_crd():
    """`kubectl apply` keeps the whole manifest in an annotation, which has a limit."""
    run("kubectl", "apply", "--dry-run=server", "-f", ROOT / "crds" / "jobqueue.yaml")


def test_install_yaml(served):
    namespace = "jobqueue-system"
    documents = load((ROOT / "install.yaml").read_text(encoding="utf-8"))
    assert documents[0]["metadata"]["name"] == namespace
    exists = run("kubectl", "get", "namespace", namespace, "--ignore-not-found", "--output=name").stdout
    if not exists:
        run("kubectl", "create", "namespace", namespace)
    try:
        done = run(
            "kubectl", "apply", "--dry-run=server", "--server-side", "--force-conflicts", "-f", ROOT / "install.yaml"
        )
        assert len(done.stdout.splitlines()) == len(documents)
        assert not warnings(done)
    finally:
        if not exists:
            run("kubectl", "delete", "namespace", namespace, "--wait=false")


@pytest.fixture
def definition():
    """The CRD is there, and goes again if it was not there before."""
    found = run("kubectl", "get", "crd", "jobqueues.jobqueue.dev", "--ignore-not-found", "--output=name").stdout
    if not found:
        run("kubectl", "apply", "--server-side", "-f", ROOT / "crds" / "jobqueue.yaml")
        run("kubectl", "wait", "--for=condition=Established", "--timeout=30s", "crd/jobqueues.jobqueue.dev")
    yield
    if not found:
        run("kubectl", "delete", "crd", "jobqueues.jobqueue.dev")


@pytest.fixture
def tenants(render, served, namespace, definition):
    """The policy for tenants, in force for the namespace of the test only."""
    if "validatingadmissionpolicies" not in served:
        pytest.skip("this cluster has no ValidatingAdmissionPolicy")
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    values = {"enabled": True, "exemptGroups": [], "images": ["mirror/"], "namespaceSelector": selector}
    rendered = render({"tenantPolicy": values}, release=namespace)
    policy = [each for each in rendered.objects if each["kind"].startswith("ValidatingAdmissionPolicy")]
    run("kubectl", "apply", "-f", "-", stdin=yaml.safe_dump_all(policy))
    yield
    run("kubectl", "delete", "-f", "-", "--wait=false", stdin=yaml.safe_dump_all(policy))


def of_tenant(namespace, worker):
    queue = {"names": ["q"], "redis": {"url": "redis://redis"}}
    metadata = {"name": "q", "namespace": namespace}
    spec = {"queue": queue, "worker": {"image": "mirror/worker:1", **worker}}
    return yaml.safe_dump(
        {"apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue", "metadata": metadata, "spec": spec}
    )


def pod(**spec):
    return {"template": {"spec": spec}}


def worker(**container):
    return pod(containers=[{"name": "worker", **container}])


def test_the_example_that_artifact_hub_shows_is_accepted(definition, namespace):
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    example = chart["annotations"]["artifacthub.io/crdsExamples"]
    [queue] = yaml.safe_load(example)
    run("kubectl", "create", "--dry-run=server", "-n", namespace, "-f", "-", stdin=yaml.safe_dump(queue))


TENANTS_MAY = {
    "nothing": {},
    "resources": worker(resources={"limits": {"memory": "1Gi"}}),
    "a volume": pod(volumes=[{"name": "a", "emptyDir": {}}], serviceAccountName="default"),
    "a sidecar": pod(
        containers=[{"name": "a", "image": "mirror/a", "securityContext": {"capabilities": {"drop": ["ALL"]}}}]
    ),
}
TENANTS_MAY_NOT = {
    "hostPath": pod(volumes=[{"name": "a", "hostPath": {"path": "/"}}]),
    "the node's network": pod(hostNetwork=True),
    "another account": pod(serviceAccountName="admin"),
    "a token": pod(automountServiceAccountToken=True),
    "a projected token": pod(
        volumes=[{"name": "a", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]
    ),
    "privileges": worker(securityContext={"privileged": True}),
    "no security context": worker(securityContext=None),
    "capabilities": worker(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}),
    "root": pod(securityContext={"runAsNonRoot": False}),
    "a privileged init container": pod(initContainers=[{"name": "i", "securityContext": {"privileged": True}}]),
    "a host port": worker(ports=[{"containerPort": 1, "hostPort": 1}]),
    "a node": pod(nodeName="node"),
    "another image": {"image": "evil/worker:1"},
    "another image in the template": worker(image="evil/worker:1"),
    "a whole template": {"template": {"$patch": "replace", "spec": {}}},
}


def test_tenants_may_do_what_the_policy_says(namespace, tenants):
    def create(name, worker):
        try:
            run("kubectl", "create", "--dry-run=server", "-f", "-", stdin=of_tenant(namespace, worker))
        except Refused as error:
            assert "spec.worker" in str(error), name
            return False
        return True

    # A policy is in force a moment after it was created.
    until = time.monotonic() + 30
    while create("hostPath", TENANTS_MAY_NOT["hostPath"]):
        assert time.monotonic() < until, "the policy does not come into force"
        time.sleep(0.5)
    assert [name for name, worker in TENANTS_MAY.items() if not create(name, worker)] == []
    assert [name for name, worker in TENANTS_MAY_NOT.items() if create(name, worker)] == []
