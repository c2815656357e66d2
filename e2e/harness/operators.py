"""The operator, installed by the chart or as a process beside the cluster that tests may kill and freeze."""

import os
from pathlib import Path

from . import ROOT, kube
from .process import Process, free_port
from .waiting import until
from .workers import binary

CHART = ROOT / "charts" / "jobqueue-operator"


def images():
    """Helm settings for other images: E2E_OPERATOR_IMAGE and E2E_WORKER_IMAGE, as repository:tag."""
    settings = []
    for value, variable in (("image", "E2E_OPERATOR_IMAGE"), ("workerImage", "E2E_WORKER_IMAGE")):
        repository, _, tag = os.environ.get(variable, "").partition(":")
        settings += [f"{value}.repository={repository}", f"{value}.tag={tag}"] if tag else []
    return settings


class Release:
    """A helm release of the chart."""

    def __init__(self, cluster, name="jobqueue-operator", namespace="jobqueue-system"):
        self.cluster, self.name, self.namespace = cluster, name, namespace
        self.may_change = True  # False where other tests use it at the same time
        self.is_this_tree = False  # installed by this process, from this tree's chart, without settings

    def _changes(self):
        assert self.may_change, f"{self.name} serves other tests at this moment: mark the test `alone`"

    def install(self, *settings, chart=CHART):
        """Installs or upgrades, and waits until it is ready. `settings` are `--set` values."""
        self._changes()
        self.is_this_tree = False
        values = [part for setting in images() for part in ("--set-string", setting)]  # a tag may look like a number
        values += [part for setting in settings for part in ("--set", setting)]
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.cluster.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}}
        )
        said = kube.run(
            [
                "helm",
                "upgrade",
                "--install",
                self.name,
                chart,
                "-n",
                self.namespace,
                "--take-ownership",
                "--reset-values",  # else an upgrade without values keeps those of the one before
                "--wait",
                "--timeout",
                "120s",
                *values,
            ],
            seconds=150,
        )
        self.is_this_tree = chart == CHART and not settings
        return said

    def uninstall(self):
        self._changes()
        self.is_this_tree = False
        return kube.run(
            ["helm", "uninstall", self.name, "-n", self.namespace, "--wait", "--timeout", "60s"], seconds=90
        )

    def worker_image(self):
        """The image of workers whose JobQueue names none."""
        pod = self.cluster.get("deployments", self.name, self.namespace)["spec"]["template"]["spec"]
        environment = pod["containers"][0]["env"]
        return next(each["value"] for each in environment if each["name"] == "JOBQUEUE_WORKER_IMAGE")

    def manifest(self):
        return kube.run(["helm", "get", "manifest", self.name, "-n", self.namespace])

    def installed(self):
        return self.name in kube.run(["helm", "list", "-q", "-n", self.namespace]).split()

    @property
    def selector(self):
        return f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component=operator"

    def pods(self):
        return self.cluster.get("pods", namespace=self.namespace, selector=self.selector)

    def is_away(self):
        """Is it told to have no operator?"""
        deployment = self.cluster.get("deployments", self.name, self.namespace)
        return not deployment or not kube.replicas(deployment)

    def away(self):
        """No operator pod, until `back`."""
        if not self.is_away():
            self._changes()
            self.cluster.kubectl("scale", f"deployment/{self.name}", "--replicas=0", namespace=self.namespace)
        until(lambda: not self.pods(), "the operator's pods are gone", seconds=60)

    def back(self):
        """There again, if it was away."""
        if self.is_away():
            self._changes()
            self.cluster.kubectl("scale", f"deployment/{self.name}", "--replicas=1", namespace=self.namespace)
            self.cluster.kubectl(
                "rollout", "status", f"deployment/{self.name}", "--timeout=60s", namespace=self.namespace
            )

    def log(self, tail=60, about=()):
        """The last lines of its log: those that name one of `about`, where given, and those about errors."""
        try:
            text = self.cluster.kubectl(
                "logs",
                "-l",
                self.selector,
                f"--tail={tail if not about else 5000}",
                "--prefix",
                namespace=self.namespace,
            )
        except kube.Failed as failed:
            return str(failed)
        lines = [
            line
            for line in text.splitlines()
            if not about or any(word in line for word in (*about, "ERROR", "panicked"))
        ]
        return "\n".join(lines[-tail:])


class OperatorProcess(Process):
    """One `jobqueue-operator run` on this machine, for a namespace, which has its Lease, and for `further` ones;
    `environment` is more of its environment."""

    def __init__(self, namespace, directory, name="operator", further=(), environment=None):
        self.name, self.port = name, free_port()
        super().__init__(
            [binary("jobqueue-operator"), "run"],
            Path(directory) / f"{name}.log",
            env={
                "JOBQUEUE_NAMESPACE": ",".join(each.name for each in (namespace, *further)),
                "JOBQUEUE_LEASE_NAMESPACE": namespace.name,
                "POD_NAME": name,
                "JOBQUEUE_LISTEN": f"127.0.0.1:{self.port}",
                "JOBQUEUE_LOG_FORMAT": "text",
                "JOBQUEUE_WORKER_IMAGE": os.environ.get("E2E_WORKER_IMAGE", "jobqueue/worker:0.1.0"),
                **(environment or {}),
            },
        )


def lease_holder(namespace):
    lease = namespace.cluster.get("leases", "jobqueue-operator", namespace.name)
    return lease["spec"].get("holderIdentity") if lease else None
