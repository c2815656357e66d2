"""Rendering the chart with helm, as its users do."""

import functools
import os

import pytest

from e2e.harness import check_times

from .rendering import run, template


def pytest_configure(config):
    check_times.register(config)


@pytest.fixture(scope="session", params=["helm", "helm3"])
def helm(request):
    """Helm 4, and Helm 3: people have both."""
    return request.param


@pytest.fixture
def render(helm):
    """`helm template jobs CHART`, with values as a dict or a file."""

    return functools.partial(template, helm)


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
