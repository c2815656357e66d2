#!/usr/bin/env python3
"""From a backlog to workers and back, beside KEDA on the same cluster in the same run.

    scripts/with-cluster bench/keda.py [--rounds 5] [--defaults 1] [--output target/keda.json]

A thousand elements come into a Redis list at one moment; ten of them make a worker, twenty workers are the most. The pods
are empty (a program that waits), so that what is measured is the deciding, the asking and the starting. In turn, rounds
alternating:

  jobqueue    an operator beside the cluster, as it comes
  tuned       KEDA's ScaledObject with pollingInterval 1 and cooldownPeriod 5
  defaults    KEDA's ScaledObject as it comes (pollingInterval 30, cooldownPeriod 300); back to zero is not waited for

KEDA must be installed (its operator and its metrics server; webhooks are not needed) and reach this machine, where Redis
runs. Times are from the moment before the elements are pushed, as a watch of the Deployment tells them. Then the list is
emptied at one moment. Worker-seconds are pods asked for, over time, from the push to zero. Nothing is asserted.
"""
import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "e2e"))

from harness.kube import Cluster, Namespace  # noqa: E402
from harness.operators import OperatorProcess  # noqa: E402
from harness.redis_server import RedisServer  # noqa: E402
from harness.waiting import until  # noqa: E402

NAMESPACE = "bench-keda"
ELEMENTS, PER_WORKER, MOST = 1_000, 10, 20
IMAGE = os.environ.get("BENCH_PAUSE_IMAGE", "docker.io/local/pause:1")
HELD = 15.0  # seconds with all workers before the list is emptied


def job_queue(url):
    return {"apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue", "metadata": {"name": "jobqueue"}, "spec": {
        "queue": {"protocol": "List", "names": ["jobqueue"], "redis": {"url": url}},
        "scaling": {"maxReplicas": MOST, "targets": {"jobsPerWorker": PER_WORKER}, "idleSeconds": 5, "scaleUp": {"maxStep": MOST},
                    "scaleDown": {"maxStep": MOST, "stabilizationSeconds": 0}},
        "worker": {"image": IMAGE, "drainSeconds": 1,
                   "template": {"spec": {"containers": [{"name": "worker", "resources": {"requests": {"cpu": "1m", "memory": "4Mi"}}}]}}}}}


def deployment(name):
    labels = {"app": name}
    container = {"name": "worker", "image": IMAGE, "resources": {"requests": {"cpu": "1m", "memory": "4Mi"}},
                 "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True, "runAsUser": 65532,
                                     "seccompProfile": {"type": "RuntimeDefault"}}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": f"{name}-worker"}, "spec": {
        "replicas": 0, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 6, "containers": [container]}}}}


def scaled_object(name, address, **settings):
    trigger = {"type": "redis", "metadata": {"address": address, "listName": name, "listLength": str(PER_WORKER)}}
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": name}, "spec": {
        "scaleTargetRef": {"name": f"{name}-worker"}, "minReplicaCount": 0, "maxReplicaCount": MOST, "triggers": [trigger], **settings}}


class Timeline:
    """What a Deployment asked for and had, with the moments."""

    def __init__(self, cluster, name):
        self.watch = cluster.watch("deployments", NAMESPACE, f"{name}-worker")
        until(lambda: self.watch.seen, f"Deployment {name}-worker", 30)
        self.entries, self.read = [], 0

    def look(self):
        now = time.perf_counter()
        seen = self.watch.seen
        while self.read < len(seen):
            found = seen[self.read]
            self.entries.append((now, found["spec"].get("replicas", 1), (found.get("status") or {}).get("readyReplicas", 0)))
            self.read += 1
        return self.entries[-1]

    def reaches(self, test, what, seconds):
        until(lambda: test(*self.look()[1:]), lambda: f"{what}: {self.entries[-1]}", seconds, 0.005)
        return self.entries[-1][0]

    def worker_seconds(self, began):
        steps = [(at, asked) for at, asked, _ in self.entries if at >= began]
        return sum(asked * (after - at) for (at, asked), (after, _) in zip(steps, steps[1:]))


def one_round(client, timeline, name, back):
    timeline.look()
    elements = ["x" * 100] * ELEMENTS
    began = time.perf_counter()
    client.rpush(name, *elements)
    first = timeline.reaches(lambda asked, _: asked > 0, "a first worker is asked for", 120) - began
    all_asked = timeline.reaches(lambda asked, _: asked == MOST, "all are asked for", 240) - began
    all_ready = timeline.reaches(lambda _, ready: ready == MOST, "all are ready", 240) - began
    result = {"first_asked": first, "all_asked": all_asked, "all_ready": all_ready}
    if back:
        held = time.perf_counter() + HELD
        until(lambda: (timeline.look(), time.perf_counter() > held)[1], "held", HELD + 5, 0.05)
        emptied = time.perf_counter()
        client.delete(name)
        zero = timeline.reaches(lambda asked, _: asked == 0, "back to zero", 900)
        result |= {"back_to_zero": zero - emptied, "worker_seconds": timeline.worker_seconds(began)}
        timeline.reaches(lambda asked, ready: asked == ready == 0, "none is left", 120)
    else:
        client.delete(name)
    print(f"{name:9}" + "".join(f"  {what} {value:.2f}" for what, value in result.items()), file=sys.stderr, flush=True)
    return result


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


def summary(rounds):
    if not rounds:
        return {}
    fields = {field: sorted(each[field] for each in rounds) for field in rounds[0]}
    return {field: {"median": statistics.median(values), "worst": values[-1], "rounds": len(values)} for field, values in fields.items()}


def table(results, memory):
    titles = {"first_asked": "first worker asked for, s", "all_asked": "20 asked for, s", "all_ready": "20 ready, s",
              "back_to_zero": "emptied -> zero asked for, s", "worker_seconds": "worker-seconds asked for"}
    yield f"{'median (worst)':32}" + "".join(f"{name:>20}" for name in results)
    for field, title in titles.items():
        cells = [each.get(field) for each in results.values()]
        yield f"{title:32}" + "".join(f"{cell['median']:10.2f} ({cell['worst']:6.2f})" .rjust(20) if cell else " " * 19 + "-" for cell in cells)
    yield f"{'rounds':32}" + "".join(f"{each['all_asked']['rounds'] if each else 0:>20}" for each in results.values())
    yield f"resident MiB of the control plane: {memory}"
    ours, tuned = results["jobqueue"].get("all_asked"), results["tuned"].get("all_asked")
    if ours and tuned:
        yield f"20 asked for: {tuned['median'] / ours['median']:.0f}x sooner than KEDA tuned"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="of jobqueue and of tuned KEDA")
    parser.add_argument("--more", type=int, default=0, help="further rounds of jobqueue alone, for its tail")
    parser.add_argument("--defaults", type=int, default=1, help="rounds of KEDA with its defaults")
    parser.add_argument("--output", default=str(ROOT / "target" / "keda.json"), metavar="FILE")
    return parser.parse_args()


def main():
    args = arguments()
    with tempfile.TemporaryDirectory(prefix="jobqueue-keda-") as directory:
        cluster = Cluster(directory)
        host = cluster.host_ip()
        redis_server = RedisServer(Path(directory) / "redis", host=host)
        client = redis_server.client()
        namespace = Namespace(cluster, NAMESPACE)
        operator = OperatorProcess(namespace, directory)
        address = f"{host}:{redis_server.port}"
        try:
            namespace.apply(job_queue(redis_server.url), deployment("tuned"), deployment("defaults"),
                            scaled_object("tuned", address, pollingInterval=1, cooldownPeriod=5))
            if args.defaults:
                namespace.apply(scaled_object("defaults", address))
            until(lambda: namespace.deployment("jobqueue"), lambda: f"the Deployment\n{operator.output()}", 30)
            for name in ["tuned", *(["defaults"] if args.defaults else [])]:
                namespace.kubectl("wait", f"scaledobject/{name}", "--for=condition=Ready", "--timeout=120s")
            timelines = {name: Timeline(cluster, name) for name in ("jobqueue", "tuned", "defaults")}
            taken = {name: [] for name in timelines}
            for _ in range(args.rounds):
                for name in ("jobqueue", "tuned"):
                    taken[name].append(one_round(client, timelines[name], name, back=True))
            for _ in range(args.more):
                taken["jobqueue"].append(one_round(client, timelines["jobqueue"], "jobqueue", back=True))
            for _ in range(args.defaults):
                taken["defaults"].append(one_round(client, timelines["defaults"], "defaults", back=False))
            memory = {"jobqueue": round(operator.resident_kib() / 1024), "KEDA": round(resident_mib("keda"))}
        finally:
            namespace.remove()
            operator.stop()
            redis_server.stop()
            cluster.stop()
    results = {name: summary(rounds) for name, rounds in taken.items()}
    print("\n".join(table(results, memory)))
    Path(args.output).parent.mkdir(exist_ok=True)
    Path(args.output).write_text(json.dumps({"cores": os.cpu_count(), "memory_mib": memory, "results": results, "rounds": taken}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
