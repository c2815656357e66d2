"""What all parts share: the cluster, one Redis, our operator beside the cluster, and KEDA where installed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from e2e.harness import ROOT, python_image
from e2e.harness.kube import Cluster, Namespace
from e2e.harness.operators import OperatorProcess
from e2e.harness.redis_server import RedisServer
from e2e.harness.waiting import until

from .watched import Pods, Replicas

HERE = Path(__file__).resolve().parent
# Another one for each of several runs at the same time.
NAMESPACE = os.environ.get("BENCH_NAMESPACE", "bench-keda")
KINDS = "jobqueues,scaledobjects,deployments"


class Session:
    """Ended by `stop`."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="jobqueue-keda-")
        place = Path(self.directory.name)
        self.cluster = Cluster(place)
        self.cluster.apply((ROOT / "crds" / "jobqueue.yaml").read_text(encoding="utf-8"), server_side=True)
        self.cluster.kubectl("wait", "--for=condition=Established", "crd/jobqueues.jobqueue.dev", "--timeout=30s")
        host = self.cluster.host_ip()
        self.redis_server = RedisServer(place / "redis", host=host)
        self.client, self.url = self.redis_server.client(), self.redis_server.url
        # Of a run before: one that broke off, or one whose namespace is still on its way out.
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", seconds=180)
        self.namespace = Namespace(self.cluster, NAMESPACE)
        self.replicas, self.pods = Replicas(self.cluster, NAMESPACE), Pods(self.cluster, NAMESPACE)
        self.operator = OperatorProcess(self.namespace, place)
        self._image = None

    def image(self):
        """Of Python and rq: BENCH_PYTHON_RQ_IMAGE, or one that is made here, where the node is our own."""
        if not self._image:
            self._image = os.environ.get("BENCH_PYTHON_RQ_IMAGE") or self._make_image()
        return self._image

    def _make_image(self):
        assert os.environ.get("E2E_CLUSTER"), "no image with rq, bench/keda/tasks.py in /app: set BENCH_PYTHON_RQ_IMAGE"
        directory = python_image.build(Path(self.directory.name) / "image", HERE / "tasks.py")
        subprocess.run(
            [os.environ["E2E_CLUSTER"], "image", "bench/python-rq:1", str(directory)],
            check=True,
            timeout=300,
            capture_output=True,
        )
        return "docker.io/bench/python-rq:1"

    def contend(self, *lists):
        """Applies what contenders consist of, and waits until each of them looks at its queue."""
        objects = [each for objects in lists for each in objects]
        self.namespace.apply(*objects)
        for each in objects:
            name = each["metadata"]["name"]
            if each["kind"] == "JobQueue":
                self.namespace.reaches("Ready", "True", name=name, within=60)
            if each["kind"] == "ScaledObject":
                self.namespace.kubectl("wait", f"scaledobject/{name}", "--for=condition=Ready", "--timeout=120s")

    def clear(self):
        """No contender and no pod is left."""
        for kind in KINDS.split(","):
            self.namespace.kubectl("delete", kind, "--all", "--wait", seconds=180)
        until(lambda: not self.cluster.get("pods", namespace=NAMESPACE), "no pod is left", 120, 0.2)

    def memory(self):
        """Resident MiB of the two control planes, as they are now."""
        return {"jobqueue": round(self.operator.resident_kib() / 1024), "keda": round(resident_mib("keda"))}

    def stop(self):
        self.replicas.over.set()
        self.pods.over.set()
        self.namespace.remove()
        self.operator.stop()
        self.redis_server.stop()
        self.cluster.stop()
        self.directory.cleanup()


def resident_mib(program):
    """Of all processes of that name on this machine, together; none where the node is another machine."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines() if ":" in line)
        except OSError:
            continue
        if fields["Name"].strip() == program and "VmRSS" in fields:
            total += int(fields["VmRSS"].split()[0])
    return total / 1024


def say(text):
    print(text, file=sys.stderr, flush=True)
