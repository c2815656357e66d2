"""The API server accepts what the chart renders. Needs a cluster; `./dev chart` provides one."""

import os

import pytest
import yaml

from e2e.harness import ROOT

from .rendering import VALUES, load, run


@pytest.fixture(scope="session")
def served():
    """The kinds that this cluster knows."""
    if not os.environ.get("KUBECONFIG"):
        pytest.exit("KUBECONFIG is not set; ./dev chart brings a cluster up", returncode=2)
    return set(run("kubectl", "api-resources", "--no-headers", "--output=wide").stdout.split())


@pytest.fixture
def namespace(served):
    name = f"chart-{os.urandom(3).hex()}"
    run("kubectl", "create", "namespace", name)
    run(
        "kubectl",
        "label",
        "namespace",
        name,
        *(f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")),
    )
    yield name
    run("kubectl", "delete", "namespace", name, "--wait=false")


def warnings(done):
    """Unknown fields, and pods that "restricted" would refuse; how the CRD came into the cluster does not matter."""
    return [line for line in done.stderr.splitlines() if "last-applied-configuration" not in line]


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_dry_run(render, namespace, served, values):
    rendered = render(file=values, namespace=namespace)
    foreign = {each["kind"] for each in rendered.objects if each["apiVersion"].startswith("monitoring.coreos.com/")}
    known = [each for each in rendered.objects if each["kind"] not in foreign - served]
    # The pod of `helm test` is refused while its account is not there.
    run(
        "kubectl",
        "create",
        "serviceaccount",
        rendered.one("ServiceAccount")["metadata"]["name"],
        "--namespace",
        namespace,
    )
    done = run(
        "kubectl",
        "apply",
        "--dry-run=server",
        "--server-side",
        "--force-conflicts",
        "--namespace",
        namespace,
        "-f",
        "-",
        stdin=yaml.safe_dump_all(known),
    )
    assert len(done.stdout.splitlines()) == len(known)
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
