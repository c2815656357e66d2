"""What all tests on a cluster share: images on its nodes, the CRD, the chart's operator, two databases."""

import json
import os
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

from . import ROOT, databases, kube, operators, shared

CRD = "jobqueues.jobqueue.dev"
LEFT = "namespaces"  # what tests of a run have cleared and left


def load_images():
    """The images of this tree on the nodes, where E2E_LOAD says how; else they are taken for present."""
    load = os.environ.get("E2E_LOAD", "").split()
    archives = [str(path) for path in sorted((ROOT / "target" / "images").glob("*.tar"))]
    if load and archives:
        kube.run([*load, *archives], seconds=300)


def apply_crd(cluster):
    """The CustomResourceDefinition of this tree, applied in Helm's name, so that the chart may change it."""
    text = (ROOT / "crds" / "jobqueue.yaml").read_text(encoding="utf-8")
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=helm", "-f", "-", stdin=text)
    # Whoever applied it before owns nothing of it any more.
    definition = cluster.raw(f"apis/apiextensions.k8s.io/v1/customresourcedefinitions/{CRD}")
    ours = [
        each for each in definition["metadata"]["managedFields"] if each["manager"] == "helm" or each.get("subresource")
    ]
    cluster.kubectl(
        "patch",
        "crd",
        CRD,
        "--type=json",
        "-p",
        json.dumps([{"op": "replace", "path": "/metadata/managedFields", "value": ours}]),
    )
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{CRD}", "--timeout=30s")


@contextmanager
def namespaces(cluster):
    """Removes the namespaces of the tests at the end: each removal is a hundred requests to the API server."""
    yield
    left = shared.notes(LEFT)
    if left:
        cluster.kubectl("delete", "namespaces", "--wait=false", "--ignore-not-found", *left, seconds=300)


@contextmanager
def database_servers(host):
    """PostgreSQL and MariaDB for all processes of this run (`shared.take`); they start while other things are made."""
    started = []
    with tempfile.TemporaryDirectory(prefix="jobqueue-databases-") as directory:

        def start(kind):
            server = databases.start(kind, Path(directory) / kind, host, shared=True)
            started.append(server)
            shared.offer(kind, server)

        starting = [threading.Thread(target=start, args=(kind,), daemon=True) for kind in ("postgres", "mariadb")]
        for each in starting:
            each.start()
        try:
            yield
        finally:
            for each in starting:
                each.join(60)
            for server in started:
                server.stop()


@contextmanager
def chart(cluster, keep):
    """The operator as the chart installs it, for the whole cluster, until the run ends."""
    load_images()
    apply_crd(cluster)
    release = operators.Release(cluster)
    was_there = release.installed()
    release.install()
    try:
        yield release
    finally:
        if was_there or keep:
            release.back()
        else:
            release.uninstall()
