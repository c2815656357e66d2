"""What one operator costs with many JobQueues: memory, processor, requests, and how soon it is done with all of them.

    python -m bench.scale [--sizes 100,1000,10000] [--rest 60] [--floor] [--profile] [--output target/scale.json]

For each size, a control plane without nodes (`control_plane.py`; kwok plays the pods), one Redis, and one operator beside
them with the rights of `install.yaml`. Half of the queues have a recipe (`ingest`), half bring an image of their own; all
read their URLs from a Secret, a hundred queues share a namespace. In turn:

  first      the operator starts and has everything to make: until each queue has a Deployment and is Ready
  rest       nothing happens: memory, processor of a sweep, processor of Redis, requests to the API server
  restart    the operator is killed and starts again: until it has visited every queue
  burst      jobs come to 1,000 queues (or all) at one moment: until each Deployment asks for its workers; first with
             Kubernetes' controllers held (SIGSTOP), so that no pods are made, which leaves the operator, the API server and etcd, then with all
  back       the jobs are gone: until each asks for none

`--floor` first makes as many bare Deployments of no workers, without operator or queues: what Kubernetes itself needs for them here.

Nothing is asserted. Everything shares this machine, so that the API server's and its controllers' work is in the times;
`--profile` samples the operator with `perf`, where that is installed and the binary has symbols.
"""

import argparse
import collections
import contextlib
import gzip
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from e2e.harness import ROOT
from e2e.harness.process import Process, free_port
from e2e.harness.redis_server import RedisServer
from e2e.harness.waiting import Late, until
from e2e.harness.workers import binary

from .control_plane import ControlPlane, Watch, parse_metrics

GROUP = "apis/jobqueue.dev/v1alpha1"
SYSTEM = "jobqueue-system"
ACCOUNT = "jobqueue-operator"
PER_NAMESPACE = 100
BURST = 1_000
JOBS = 150
AIMS = {
    "rest_mib": 64,
    "worst_mib": 128,
    "sweep_cpu_ms": 100,
    "first_seconds": 120,
    "restart_seconds": 120,
    "burst_seconds": 5,
}


def queue(number, namespace):
    """Every second queue has a recipe."""
    spec = {
        "queue": {"names": [f"q{number}"], "redis": {"urlSecretKeyRef": {"name": "warehouse", "key": "redis"}}},
        "scaling": {
            "maxReplicas": 4,
            "targets": {"jobsPerWorker": 100},
            "idleSeconds": 5,
            "scaleDown": {"stabilizationSeconds": 0},
        },
        "worker": {"image": "example.org/worker:1"},
    }
    if number % 2:
        spec["database"] = {"urlSecretKeyRef": {"name": "warehouse", "key": "database"}}
        columns = {"name": "record.Company.Name", "reg_num": "record.Company.No", "created_time": "now()"}
        spec["ingest"] = [{"record": "job.args[0]", "tables": [{"table": "company", "columns": columns}]}]
    return {
        "apiVersion": "jobqueue.dev/v1alpha1",
        "kind": "JobQueue",
        "metadata": {"name": f"q{number}", "namespace": namespace},
        "spec": spec,
    }


def install(plane):
    """CRD, account and rights as `install.yaml` has them, and a flow of its own, so that the operator's requests are counted."""
    plane.kubectl("apply", "--server-side", "-f", str(ROOT / "install.yaml"))
    plane.kubectl("scale", "deployment", ACCOUNT, "-n", SYSTEM, "--replicas=0")
    subject = {"kind": "ServiceAccount", "serviceAccount": {"name": ACCOUNT, "namespace": SYSTEM}}
    rule = {
        "subjects": [subject],
        "resourceRules": [
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
        ],
    }
    plane.post(
        "apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
        {
            "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
            "kind": "FlowSchema",
            "metadata": {"name": "the-operator"},
            # Where requests of service accounts go in any case.
            "spec": {
                "priorityLevelConfiguration": {"name": "workload-low"},
                "matchingPrecedence": 500,
                "distinguisherMethod": {"type": "ByUser"},
                "rules": [rule],
            },
        },
    )
    plane.kubectl("wait", "crd/jobqueues.jobqueue.dev", "--for=condition=Established", "--timeout=60s")
    token = plane.kubectl("create", "token", ACCOUNT, "-n", SYSTEM, "--duration=24h").strip()
    return plane.config_of("operator", token)


def fill(plane, size, redis_server):
    """The namespaces, their Secrets, the queues."""
    namespaces = [f"team-{number}" for number in range(-(-size // PER_NAMESPACE))]
    plane.post_all([("api/v1/namespaces", {"metadata": {"name": name}}) for name in namespaces])
    secret = {
        "metadata": {"name": "warehouse"},
        "stringData": {"redis": redis_server.url, "database": "postgres://app:secret@database/warehouse"},
    }
    plane.post_all([(f"api/v1/namespaces/{name}/secrets", secret) for name in namespaces])
    where = [namespaces[number // PER_NAMESPACE] for number in range(size)]
    plane.post_all(
        [(f"{GROUP}/namespaces/{where[number]}/jobqueues", queue(number, where[number])) for number in range(size)]
    )


class Cluster:
    """What two watches tell: which queues are Ready, how many workers each Deployment asks for, with the moments, and which lack some."""

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
        told = subprocess.run(
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
        return [line.strip() for line in told.splitlines() if line.strip() and not line.startswith("#")][:lines]


def floor(size, limit, directory):
    """As many Deployments as queues, made by plain POSTs: until Kubernetes' controllers have told the status of each."""
    plane = ControlPlane(directory / "floor")
    try:
        plane.post_all(
            [
                ("api/v1/namespaces", {"metadata": {"name": f"team-{number}"}})
                for number in range(-(-size // PER_NAMESPACE))
            ]
        )
        done = set()

        def see(found, _now):
            if found.get("status", {}).get("observedGeneration") and any(
                each["status"] == "True" for each in found["status"].get("conditions", [])
            ):
                done.add(found["metadata"]["uid"])

        watch = Watch(plane, "apis/apps/v1/deployments", see)
        began, cpu = time.perf_counter(), plane.processes["apiserver"].cpu_seconds()
        plane.post_all(
            [
                (f"apis/apps/v1/namespaces/team-{number // PER_NAMESPACE}/deployments", bare(number))
                for number in range(size)
            ]
        )
        until(lambda: len(done) >= size, lambda: f"all Deployments are available; {len(done)} of {size}", limit, 0.1)
        watch.over = True
        return {
            "floor_seconds": time.perf_counter() - began,
            "floor_api_cpu_seconds": plane.processes["apiserver"].cpu_seconds() - cpu,
        }
    finally:
        plane.stop()


def bare(number):
    """A Deployment of no pods, with no more in it than it must have."""
    labels = {"app": f"q{number}"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "worker", "image": "example.org/worker:1"}]},
    }
    return {
        "metadata": {"name": f"q{number}"},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }


def first(plane, operator, cluster, size, limit):
    began = operator.began
    before, cpu = requests(plane), plane.processes["apiserver"].cpu_seconds()
    until(
        lambda: len(cluster.ready) >= size,
        lambda: f"all are Ready; {len(cluster.ready)} of {size}\n{operator.output()}",
        limit,
        0.1,
    )
    seconds = time.perf_counter() - began
    after = requests(plane)
    return {
        "first_seconds": seconds,
        "first_requests": after[0] - before[0],
        "first_cpu_seconds": operator.cpu_seconds(),
        "first_api_cpu_seconds": plane.processes["apiserver"].cpu_seconds() - cpu,
        "first_mib": operator.most_kib() / 1024,
    }


def quiet(operator, seconds=120):
    """Waits until there are few writes for some seconds (one queue a second is applied again, and the lease renewed), or so long."""
    counts = []

    def still():
        counts.append(operator.counter("api_writes_total"))
        return len(counts) > 5 and counts[-1] - counts[-6] < 15

    try:
        until(still, "quiet", seconds, 1.0)
    except Late:
        print("still writing", file=sys.stderr)


def rest(plane, operator, redis_server, seconds, profile):
    before, cpu, redis_cpu, sweeps = (
        requests(plane),
        operator.cpu_seconds(),
        redis_server.process.cpu_seconds(),
        operator.counter("sweep_seconds_count"),
    )
    visits, api_cpu = operator.counter("reconciles_total"), plane.processes["apiserver"].cpu_seconds()
    began, resident = time.perf_counter(), []
    sampling = profile()
    while time.perf_counter() - began < seconds:
        time.sleep(0.5)
        resident.append(operator.resident_kib() / 1024)
    where = sampling.end()
    passed = time.perf_counter() - began
    after = requests(plane)
    number = max(operator.counter("sweep_seconds_count") - sweeps, 1)
    return {
        "rest_mib": statistics.median(resident),
        "sweeps_per_second": number / passed,
        "sweep_cpu_ms": (operator.cpu_seconds() - cpu) * 1000 / number,
        "redis_cpu_ms": (redis_server.process.cpu_seconds() - redis_cpu) * 1000 / number,
        "rest_requests_per_second": (after[0] - before[0]) / passed,
        "rest_visits_per_second": (operator.counter("reconciles_total") - visits) / passed,
        "rest_api_cpu": (plane.processes["apiserver"].cpu_seconds() - api_cpu) / passed,
        "rest_busiest": busiest(before[1], after[1]),
        "rest_profile": where,
    }


def restart(plane, operator, start, size, limit):
    operator.kill()
    before = requests(plane)
    again = start()
    until(
        lambda: again.served() >= size,
        lambda: f"all are visited; {again.served()} of {size}\n{again.output()}",
        limit,
        0.25,
    )
    after = requests(plane)
    return again, {
        "restart_seconds": time.perf_counter() - again.began,
        "restart_requests": after[0] - before[0],
        "restart_mib": again.most_kib() / 1024,
    }


def percentiles(times):
    times = sorted(times)
    return {
        "first": times[0],
        "median": times[len(times) // 2],
        "p99": times[min(len(times) - 1, len(times) * 99 // 100)],
        "last": times[-1],
    }


@contextlib.contextmanager
def held(plane, wanted):
    """Holds everybody who follows the numbers of workers, for so long as the burst lasts."""
    followers = [plane.processes[name].pid for name in ("controllers", "scheduler")] if wanted else []
    for pid in followers:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in followers:
            os.kill(pid, signal.SIGCONT)


def pods(plane):
    """What became of the pods, and the last words of those who make them; for who reads why a burst failed."""

    def phase(pod):
        bound = "bound" if pod["spec"].get("nodeName") else "not bound"
        return f"{pod['status'].get('phase')}, {bound}{', going' if 'deletionTimestamp' in pod['metadata'] else ''}"

    phases = dict(collections.Counter(map(phase, plane.get("api/v1/pods")["items"])))
    cpu = {name: round(process.cpu_seconds()) for name, process in plane.processes.items() if process.alive()}
    last = "".join(f"{name}: {plane.processes[name].output(1500)}\n" for name in ("controllers", "scheduler", "kwok"))
    return f"pods: {phases}\nprocessor seconds of who lives: {cpu}\n{last}"


def burst(plane, operator, cluster, redis_server, size, profile, alone=False):
    """Jobs at one moment for many queues; the sweep looks at the head's record only, so only heads have one."""
    some = [f"q{number}" for number in range(0, size, max(size // BURST, 1))][:BURST]
    client = redis_server.client()
    everybody = {**plane.processes, "redis": redis_server.process, "operator": operator}
    before, cpu = requests(plane), {name: process.cpu_seconds() for name, process in everybody.items()}
    sampling = profile()
    fill_all = client.pipeline(transaction=True)
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    for name in some:
        fill_all.hset(f"rq:job:{name}-0", mapping={"enqueued_at": now, "status": "queued"})
        fill_all.rpush(f"rq:queue:{name}", *(f"{name}-{number}" for number in range(JOBS)))
    with held(plane, alone):
        fill_all.execute()
        began = time.perf_counter()
        until(
            lambda: all(cluster.replicas.get(name, 0) > 0 for name in some),
            lambda: f"all are scaled; {sum(cluster.replicas.get(name, 0) > 0 for name in some)}\n{operator.output()}",
            180,
            0.02,
        )
        where = sampling.end()
    times = percentiles([cluster.changed[name] - began for name in some])
    spent = {name: round(process.cpu_seconds() - cpu[name], 2) for name, process in everybody.items()}
    result = {"queues": len(some), "seconds": times["last"], "times": times, "profile": where, "cpu_seconds": spent}
    until(
        lambda: not cluster.short,
        lambda: f"all pods are ready; {len(cluster.short)} Deployments lack some\n{operator.output()}\n{pods(plane)}",
        900,
        0.1,
    )
    result["ready_seconds"] = time.perf_counter() - began
    quiet(operator)
    after = requests(plane)
    client.flushall()
    began = time.perf_counter()
    until(
        lambda: all(cluster.replicas.get(name) == 0 for name in some),
        lambda: f"all are back; {sum(cluster.replicas.get(name) == 0 for name in some)}\n{operator.output()}",
        300,
        0.1,
    )
    result |= {
        "back_seconds": time.perf_counter() - began,
        "requests": after[0] - before[0],
        "busiest": busiest(before[1], after[1]),
    }
    return {f"{'alone' if alone else 'burst'}_{field}": value for field, value in result.items()}


def measure(size, args, directory):
    bottom = floor(size, args.limit, directory) if args.floor else {}
    if bottom:
        say(
            size,
            f"as many bare Deployments: {bottom['floor_seconds']:.1f} s, the API server's processor seconds {bottom['floor_api_cpu_seconds']:.1f}",
        )
    plane = ControlPlane(directory / "plane")
    redis_server = RedisServer(directory / "redis")
    processes = []
    try:
        kubeconfig = install(plane)
        say(size, "filling")
        fill(plane, size, redis_server)
        cluster = Cluster(plane)

        def start():
            processes.append(Operator(kubeconfig, directory))
            return processes[-1]

        def profile():
            return Profile(processes[-1], directory, args.profile)

        result = {"size": size, **bottom, **first(plane, start(), cluster, size, args.limit)}
        say(size, f"all Ready after {result['first_seconds']:.1f} s")
        quiet(processes[-1])
        result |= rest(plane, processes[-1], redis_server, args.rest, profile)
        say(
            size,
            f"at rest {result['rest_mib']:.0f} MiB, {result['sweep_cpu_ms']:.0f} ms a sweep, {result['rest_requests_per_second']:.1f} requests/s",
        )
        worst = processes[-1].most_kib()
        operator, again = restart(plane, processes[-1], start, size, args.limit)
        result |= again
        say(size, f"again after {result['restart_seconds']:.1f} s, {result['restart_requests']:.0f} requests")
        quiet(operator)
        result |= burst(plane, operator, cluster, redis_server, size, profile, alone=True)
        say(
            size,
            f"burst with the controllers held: {result['alone_seconds']:.1f} s, processor seconds {result['alone_cpu_seconds']}",
        )
        quiet(operator)
        result |= burst(plane, operator, cluster, redis_server, size, profile)
        say(
            size,
            f"burst on {result['burst_queues']}: {result['burst_seconds']:.1f} s, pods ready {result['burst_ready_seconds']:.1f} s, back {result['burst_back_seconds']:.1f} s, processor seconds {result['burst_cpu_seconds']}",
        )
        cluster.close()
        return {**result, "worst_mib": max(worst, operator.most_kib()) / 1024, "warnings": operator.output(1500)}
    finally:
        for process in [*processes, redis_server.process]:
            if process.alive():
                process.stop(10)
        plane.stop()


def say(size, text):
    print(f"{size:6}: {text}", file=sys.stderr, flush=True)


def table(results):
    rows = [
        ("queues", "size", "{:,.0f}"),
        ("as many bare Deployments, s", "floor_seconds", "{:.1f}"),
        ("  processor of the API server for it, s", "floor_api_cpu_seconds", "{:.1f}"),
        ("first start: all Ready, s", "first_seconds", "{:.1f}"),
        ("  requests of the operator", "first_requests", "{:,.0f}"),
        ("restart: all visited, s", "restart_seconds", "{:.1f}"),
        ("  requests of the operator", "restart_requests", "{:,.0f}"),
        ("at rest: resident MiB", "rest_mib", "{:.0f}"),
        ("  processor ms a sweep, all else included", "sweep_cpu_ms", "{:.1f}"),
        ("  processor ms of Redis a sweep", "redis_cpu_ms", "{:.1f}"),
        ("  sweeps a second", "sweeps_per_second", "{:.1f}"),
        ("  requests to the API server a second", "rest_requests_per_second", "{:.2f}"),
        ("  processors of the API server", "rest_api_cpu", "{:.2f}"),
        ("burst: queues", "burst_queues", "{:,.0f}"),
        ("  all asked for, controllers held, s", "alone_seconds", "{:.2f}"),
        ("  all asked for, s", "burst_seconds", "{:.2f}"),
        ("  all pods ready, s", "burst_ready_seconds", "{:.1f}"),
        ("  back at none, s", "burst_back_seconds", "{:.1f}"),
        ("worst: resident MiB", "worst_mib", "{:.0f}"),
    ]
    for title, field, form in rows:
        if field not in results[0]:
            continue
        aim = f"   (aim: {AIMS[field]})" if field in AIMS else ""
        yield f"{title:42}" + "".join(f"{form.format(result[field]):>12}" for result in results) + aim


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100,1000,10000")
    parser.add_argument(
        "--rest", type=float, default=60, metavar="SECONDS", help="how long to look at rest (default 60)"
    )
    parser.add_argument(
        "--limit", type=float, default=900, metavar="SECONDS", help="how long to wait for all to be ready (default 900)"
    )
    parser.add_argument("--floor", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--output", default=str(ROOT / "target" / "scale.json"), metavar="FILE")
    return parser.parse_args()


def main():
    args = arguments()
    results = []
    for size in map(int, args.sizes.split(",")):
        with tempfile.TemporaryDirectory(prefix="jobqueue-scale-") as directory:
            results.append(measure(size, args, Path(directory)))
        Path(args.output).parent.mkdir(exist_ok=True)
        Path(args.output).write_text(
            json.dumps({"cores": os.cpu_count(), "results": results}, indent=1), encoding="utf-8"
        )
    print("\n".join(table(results)))
    print(f"\n{os.cpu_count()} cores for all of it, {platform.system()} {platform.release()}")
    for result in results:
        for phase in ("rest", "alone", "burst"):
            print(f"\n{result['size']:,} queues, {phase}: everybody's requests {result[f'{phase}_busiest']}")
            print("\n".join(f"  {line}" for line in result[f"{phase}_profile"]))


if __name__ == "__main__":
    main()
