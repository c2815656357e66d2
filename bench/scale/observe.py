"""What is measured: the operator's process, the API server's requests, and what watches see of the cluster."""

import collections
import gzip
import subprocess
import time
import urllib.request
from pathlib import Path

from e2e.harness.process import Process, free_port
from e2e.harness.workers import binary

from .control_plane import Watch, parse_metrics
from .manifests import GROUP, SYSTEM


class Cluster:
    """What two watches see: which queues are Ready, each Deployment's replicas and since when, and which lack pods."""

    def __init__(self, plane):
        self.ready, self.replicas, self.changed, self.short = set(), {}, {}, set()
        self.watches = [
            Watch(plane, f"{GROUP}/jobqueues", self._queue),
            Watch(plane, "apis/apps/v1/deployments", self._deployment),
        ]

    def _queue(self, found, _now):
        conditions = (found.get("status") or {}).get("conditions", [])
        ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
        (self.ready.add if ready else self.ready.discard)((found["metadata"]["namespace"], found["metadata"]["name"]))

    def _deployment(self, found, now):
        if "jobqueue.dev/queue" not in found["metadata"].get("labels", {}):
            return
        name = found["metadata"]["labels"]["jobqueue.dev/queue"]
        replicas = found["spec"]["replicas"]
        if self.replicas.get(name) != replicas:
            self.replicas[name], self.changed[name] = replicas, now
        (self.short.add if found.get("status", {}).get("readyReplicas", 0) < replicas else self.short.discard)(name)

    def close(self):
        for watch in self.watches:
            watch.over = True


class Operator(Process):
    """`jobqueue-operator run` with the rights of its account; the most memory it had is watched all the time."""

    def __init__(self, kubeconfig, directory, log="warn"):
        self.port = free_port()
        self.began = time.perf_counter()
        super().__init__(
            [binary("jobqueue-operator"), "run"],
            Path(directory) / "operator.log",
            env={
                "KUBECONFIG": str(kubeconfig),
                "JOBQUEUE_LEASE_NAMESPACE": SYSTEM,
                "POD_NAME": f"operator-{self.port}",
                "JOBQUEUE_LOG": log,
                "JOBQUEUE_LISTEN": f"127.0.0.1:{self.port}",
                "JOBQUEUE_LOG_FORMAT": "text",
            },
        )

    def metrics(self):
        try:
            # As Prometheus asks.
            question = urllib.request.Request(
                f"http://127.0.0.1:{self.port}/metrics", headers={"Accept-Encoding": "gzip"}
            )
            with urllib.request.urlopen(question, timeout=30) as answer:
                return parse_metrics(gzip.decompress(answer.read()).decode())
        except OSError:
            return {}

    def counter(self, name):
        """A counter, all its labels together."""
        found = self.metrics()
        return sum(value for series, value in found.items() if series.partition("{")[0] == f"jobqueue_operator_{name}")

    def served(self):
        """How many queues it looks at."""
        return sum(series.startswith("jobqueue_operator_queue_desired_workers{") for series in self.metrics())

    def most_kib(self):
        """The most resident memory since its start."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def requests(plane):
    """The operator's requests that the API server has begun, and everybody's by verb and resource."""
    found = plane.metrics()
    of_operator = sum(
        value
        for series, value in found.items()
        if series.startswith("apiserver_flowcontrol_dispatched_requests_total")
        and 'flow_schema="the-operator"' in series
    )
    by_kind = {}
    for series, value in found.items():
        if series.startswith("apiserver_request_total"):
            labels = dict(part.split("=", 1) for part in series[series.index("{") + 1 : series.rindex("}")].split(","))
            kind = " ".join(labels.get(label, "").strip('"') for label in ("verb", "resource", "subresource")).strip()
            by_kind[kind] = by_kind.get(kind, 0) + value
    return of_operator, by_kind


def busiest(before, after, number=8):
    grown = {kind: after[kind] - before.get(kind, 0) for kind in after}
    return dict(
        sorted(((kind, int(count)) for kind, count in grown.items() if count > 0), key=lambda each: -each[1])[:number]
    )


class Profile:
    """`perf record` of the operator while a phase lasts; where the samples fell, by function and by library."""

    def __init__(self, operator, directory, wanted):
        self.file = Path(directory) / "perf.data"
        self.process = None
        if wanted:
            self.process = subprocess.Popen(
                ["perf", "record", "-q", "-g", "-F", "199", "-o", self.file, "-p", str(operator.pid)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def end(self, lines=25):
        if not self.process:
            return []
        self.process.send_signal(2)
        self.process.wait(60)
        report = subprocess.run(
            [
                "perf",
                "report",
                "-i",
                self.file,
                "--stdio",
                "--no-children",
                "-g",
                "none",
                "--percent-limit",
                "0.7",
                "-F",
                "overhead,sym",
            ],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        return [line.strip() for line in report.splitlines() if line.strip() and not line.startswith("#")][:lines]


def pods(plane):
    """What became of the pods, and the last words of those who make them; for who reads why a burst failed."""

    def phase(pod):
        bound = "bound" if pod["spec"].get("nodeName") else "not bound"
        return f"{pod['status'].get('phase')}, {bound}{', going' if 'deletionTimestamp' in pod['metadata'] else ''}"

    phases = dict(collections.Counter(map(phase, plane.get("api/v1/pods")["items"])))
    cpu = {name: round(process.cpu_seconds()) for name, process in plane.processes.items() if process.alive()}
    last = "".join(f"{name}: {plane.processes[name].output(1500)}\n" for name in ("controllers", "scheduler", "kwok"))
    return f"pods: {phases}\nprocessor seconds of who lives: {cpu}\n{last}"
