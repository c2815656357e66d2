"""The pages' blocks that need a cluster, run as they are printed, page after page in the order in which a newcomer
reads them.

They install and remove the operator, which serves all namespaces, and in the end its CRD. So they want a cluster of
the tests' own (kind, or the node of `e2e/cluster`), and nobody else's tests in it meanwhile.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from e2e.harness import ROOT, installation, kube, python_image

from . import stand_ins
from .blocks import pages, read
from .reader import free_port_6379

CHART = ROOT / "charts" / "jobqueue-operator"
FIRST_QUEUE = "docs/first-queue.md"
# The pages of one reader: the second and those after it begin where the first queue left the cluster.
IN_WAREHOUSE = [FIRST_QUEUE, "docs/conditions.md", "docs/scaling.md", "docs/troubleshooting.md", "docs/operations.md"]
# Those of a reader who begins anew, in a namespace where nothing is.
BEFORE = ["docs/install.md", "README.md", "examples/python-rq/README.md", "docs/existing-rq-workers.md"]
RELEASE = ("jobqueue-operator", "-n", "jobqueue-system")


class Place:
    """The cluster, and what a page finds there."""

    def __init__(self, directory):
        self.directory = directory
        self.namespaces = []
        self.load = os.environ.get("E2E_LOAD", "")
        self.own_node = os.environ.get("E2E_CLUSTER", "")
        self.variables, self.conditions = {}, ("on containerd",) if self.own_node else ("on kind",)
        if self.own_node:
            # `ctr` on this node, whose state is not where Debian's containerd has it.
            state = Path(os.environ["KUBECONFIG"]).parents[1]
            self.variables["CONTAINERD_ADDRESS"] = str(state / "run" / "containerd.sock")
        elif self.load.startswith("kind "):
            self.variables["KIND_CLUSTER_NAME"] = self.load.split()[-1]

    def images(self):
        """What a reader would have built, or what the nodes would take from a registry."""
        installation.load_images()
        if self.own_node:
            made = {
                **stand_ins.ALL,
                "example/python-rq:1": lambda place: python_image.build(
                    place, ROOT / "examples" / "python-rq" / "tasks.py"
                ),
            }
            there = kube.run(["ctr", "-n", "k8s.io", "images", "ls", "-q"], env=self.variables).split()
            for reference, make in made.items():
                if f"docker.io/{reference}" not in there:
                    place = self.directory / re.sub(r"\W", "-", reference)
                    place.mkdir()
                    kube.run([self.own_node, "image", reference, make(place)])
                    shutil.rmtree(place)

    def kubeconfig(self, name, namespace):
        """A copy of the reader's own, whose namespace a page may change."""
        path = self.directory / f"{name}.kubeconfig"
        shutil.copy(os.environ["KUBECONFIG"], path)
        if namespace:
            kube.run(["kubectl", "create", "namespace", namespace])
            kube.run(
                ["kubectl", f"--kubeconfig={path}", "config", "set-context", "--current", f"--namespace={namespace}"]
            )
            self.namespaces.append(namespace)
        return path

    def installed(self):
        return RELEASE[0] in kube.run(["helm", "list", "-q", *RELEASE[1:]]).split()

    def install(self):
        kube.run(
            [
                "helm",
                "upgrade",
                "--install",
                RELEASE[0],
                CHART,
                *RELEASE[1:],
                "--create-namespace",
                "--take-ownership",
                "--wait",
                "--timeout",
                "100s",
            ]
        )

    def uninstall(self):
        if self.installed():
            kube.run(["helm", "uninstall", *RELEASE, "--wait"])

    def without(self, namespaces):
        """What an earlier attempt has left of those that a page makes."""
        for name in {name for names in namespaces for name in names} - {"", RELEASE[2]}:
            kube.run(["kubectl", "delete", "namespace", name, "--ignore-not-found"])

    def leave(self):
        """The cluster as it was found, but for the CRD and the images."""
        self.uninstall()
        for namespace in (*self.namespaces, "warehouse", "team-a"):
            kube.run(["kubectl", "delete", "namespace", namespace, "--ignore-not-found", "--wait=false"])

    def diagnosis(self, kubeconfig):
        """What one would look at first."""
        said = ""
        for what in (
            "get jobqueues,deployments,pods -o wide",
            "describe jobqueues",
            "get events --sort-by=.lastTimestamp",
        ):
            said += f"\n$ kubectl {what}\n"
            said += subprocess.run(
                ["kubectl", f"--kubeconfig={kubeconfig}", *what.split()], capture_output=True, text=True, check=False
            ).stdout
        return said


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    if not os.environ.get("KUBECONFIG"):
        pytest.exit("KUBECONFIG is not set; scripts/with-cluster brings a cluster up", returncode=2)
    place = Place(tmp_path_factory.mktemp("cluster"))
    if not place.own_node and not place.load.startswith("kind "):
        pytest.skip("the pages remove the operator and its CRD: they are tried on kind or on a node of our own only")
    free_port_6379()
    place.images()
    yield place
    place.leave()


@pytest.fixture
def follow(place, reader):
    """Follows a page, in a new namespace or in that of a kubeconfig, with or without the operator installed."""

    def page(name, kubeconfig=None):
        blocks = read(name)
        commands = "".join(block.text for block in blocks if block.kind == "run")
        place.without(set(re.findall(r"create namespace (\S+)|--namespace (\S+) --create-namespace", commands)))
        if "helm install jobqueue-operator" in commands:
            place.uninstall()
            kube.run(["kubectl", "delete", "crd", installation.CRD, "--ignore-not-found"])
        else:
            place.install()
        config = kubeconfig or place.kubeconfig("reader", f"docs-{os.urandom(3).hex()}")
        each = reader("cluster", place.conditions, KUBECONFIG=str(config), **place.variables)
        images = each.directory / "target" / "images"
        images.parent.mkdir()
        images.symlink_to(ROOT / "target" / "images")  # where `./dev images` leaves them
        problem = each.follow(blocks)
        each.close()  # with it the ports that it forwards
        if problem:
            pytest.fail(f"{problem}\n{place.diagnosis(config)}", pytrace=False)

    return page


@pytest.fixture(scope="session")
def warehouse(place):
    """The kubeconfig of the reader who made the first queue; the page's own test fills it."""
    return place.kubeconfig("warehouse", None)


def follows_first_queue(kubeconfig):
    done = subprocess.run(
        ["kubectl", f"--kubeconfig={kubeconfig}", "get", "jobqueue", "-n", "warehouse", "companies"],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


@pytest.mark.parametrize("page", BEFORE)
def test_page(page, follow):
    follow(page)


@pytest.mark.parametrize("page", IN_WAREHOUSE)
def test_page_of_the_first_queue(page, follow, warehouse):
    if page != FIRST_QUEUE and not follows_first_queue(warehouse):
        follow(FIRST_QUEUE, warehouse)
    follow(page, warehouse)


def test_every_page_is_followed():
    followed = [page for page in pages() if any(block.kind == "run" and block.runs("cluster") for block in read(page))]
    assert sorted(followed) == sorted(BEFORE + IN_WAREHOUSE)
