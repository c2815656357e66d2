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
    values = {"enabled": True, "images": ["mirror/"], "serviceAccounts": ["jobs"], "namespaceSelector": selector}
    rendered = render({"tenantPolicy": values}, release=namespace)
    policy = [each for each in rendered.objects if each["kind"].startswith("ValidatingAdmissionPolicy")]
    run("kubectl", "apply", "-f", "-", stdin=yaml.safe_dump_all(policy))
    role = ["--verb=create", "--resource=jobqueues.jobqueue.dev", f"--namespace={namespace}"]
    run("kubectl", "create", "role", "tenant", *role)
    run("kubectl", "create", "rolebinding", "tenant", "--role=tenant", "--user=tenant", f"--namespace={namespace}")
    yield
    run("kubectl", "delete", "-f", "-", "--wait=false", stdin=yaml.safe_dump_all(policy))


def of_tenant(namespace, name, worker):
    queue = {"names": ["q"], "redis": {"url": "redis://redis"}}
    spec = {"queue": queue, "worker": {"image": "mirror/worker:1", **worker}}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue", "metadata": metadata, "spec": spec}


def taken(namespace, workers, *user):
    """Those of the workers whose queues the API server would take; what it refuses, it does for the policy."""
    names = {f"jobqueue.jobqueue.dev/q{number}": name for number, name in enumerate(workers)}
    queues = [of_tenant(namespace, f"q{number}", worker) for number, worker in enumerate(workers.values())]
    create = ["kubectl", "create", "--dry-run=server", "--output=name", *user, "-f", "-"]
    try:
        said = run(*create, stdin=yaml.safe_dump_all(queues)).stdout
    except Refused as error:
        said = str(error)
    created = [names[line] for line in said.splitlines() if line in names]
    refused = [line for line in said.splitlines() if "denied request: spec.worker" in line]
    assert len(created) + len(refused) == len(workers), said
    return created


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
    "an account that is allowed": pod(serviceAccountName="jobs", automountServiceAccountToken=False),
    "a user": pod(securityContext={"runAsNonRoot": True, "runAsUser": 7}),
    "a port": worker(ports=[{"containerPort": 1}], securityContext={"runAsUser": 7, "allowPrivilegeEscalation": False}),
    "a sidecar": pod(
        containers=[{"name": "a", "image": "mirror/a", "securityContext": {"capabilities": {"drop": ["ALL"]}}}]
    ),
}
TENANTS_MAY_NOT = {
    "hostPath": pod(volumes=[{"name": "a", "hostPath": {"path": "/"}}]),
    "the node's network": pod(hostNetwork=True),
    "the node's processes": pod(hostPID=True),
    "the node's shared memory": pod(hostIPC=True),
    "another account": pod(serviceAccountName="admin"),
    "another account by its old name": pod(serviceAccount="admin"),
    "a token": pod(automountServiceAccountToken=True),
    "a projected token": pod(
        volumes=[{"name": "a", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]
    ),
    "privileges": worker(securityContext={"privileged": True}),
    "no security context": worker(securityContext=None),
    "more privileges later": worker(securityContext={"allowPrivilegeEscalation": True}),
    "the whole of /proc": worker(securityContext={"procMount": "Unmasked"}),
    "capabilities": worker(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}),
    "the capabilities of the runtime": worker(securityContext={"capabilities": None}),
    "a container as root": worker(securityContext={"runAsNonRoot": False}),
    "a container as user 0": worker(securityContext={"runAsUser": 0}),
    **{
        f"a container with {name}": worker(securityContext={name: {}})
        for name in ("seccompProfile", "seLinuxOptions", "windowsOptions", "appArmorProfile")
    },
    "a security context of its own": worker(securityContext={"$patch": "replace"}),
    "a container of its own": worker(**{"$patch": "replace"}),
    "root": pod(securityContext={"runAsNonRoot": False}),
    "user 0": pod(securityContext={"runAsUser": 0}),
    "no security context of the pod": pod(securityContext=None),
    **{
        f"a pod with {name}": pod(securityContext={name: {}})
        for name in ("sysctls", "seccompProfile", "seLinuxOptions", "windowsOptions", "appArmorProfile", "$patch")
    },
    "a privileged init container": pod(initContainers=[{"name": "i", "securityContext": {"privileged": True}}]),
    "a privileged container for a look": pod(
        ephemeralContainers=[{"name": "e", "securityContext": {"privileged": True}}]
    ),
    "a host port": worker(ports=[{"containerPort": 1, "hostPort": 1}]),
    "a node": pod(nodeName="node"),
    "a priority": pod(priority=1),
    "a priority class": pod(priorityClassName="system-node-critical"),
    "another scheduler": pod(schedulerName="mine"),
    "another image": {"image": "evil/worker:1"},
    "another image in the template": worker(image="evil/worker:1"),
    "another image of an init container": pod(initContainers=[{"name": "i", "image": "evil/i:1"}]),
    "a whole template": {"template": {"$patch": "replace", "spec": {}}},
    "a whole pod": pod(**{"$patch": "replace"}),
}


def test_tenants_may_do_what_the_policy_says(namespace, tenants):
    tenant = "--as=tenant"
    # A policy is in force a moment after it was created.
    until = time.monotonic() + 30
    while taken(namespace, {"hostPath": TENANTS_MAY_NOT["hostPath"]}, tenant):
        assert time.monotonic() < until, "the policy does not come into force"
        time.sleep(0.5)
    assert taken(namespace, TENANTS_MAY, tenant) == list(TENANTS_MAY)
    assert taken(namespace, TENANTS_MAY_NOT, tenant) == []
    exempt = taken(namespace, TENANTS_MAY_NOT)
    assert exempt == list(TENANTS_MAY_NOT), "who may do everything is not narrowed"
