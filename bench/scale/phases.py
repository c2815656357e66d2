"""The phases of a measurement, in their order. Each returns its numbers."""

import contextlib
import os
import signal
import statistics
import sys
import time

from e2e.harness.waiting import Late, until

from .control_plane import ControlPlane, Watch
from .manifests import PER_NAMESPACE, bare
from .observe import busiest, pods, requests

BURST = 1_000
JOBS = 150


def floor(size, limit, directory):
    """As many bare Deployments as queues, until Kubernetes' controllers have written the status of each."""
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
    """Waits, for `seconds` at most, until there are few writes: a queue a second is applied again in any case."""
    counts = []

    def still():
        counts.append(operator.counter("api_writes_total"))
        return len(counts) > 5 and counts[-1] - counts[-6] < 15

    try:
        until(still, "quiet", seconds, 1.0)
    except Late:
        print("still writing", file=sys.stderr)


def rest(plane, operator, redis_server, seconds, profile):
    before, api_cpu = requests(plane), plane.processes["apiserver"].cpu_seconds()
    cpu, redis_cpu = operator.cpu_seconds(), redis_server.process.cpu_seconds()
    polls, reconciles = operator.counter("sweep_seconds_count"), operator.counter("reconciles_total")
    began, resident = time.perf_counter(), []
    sampling = profile()
    while time.perf_counter() - began < seconds:
        time.sleep(0.5)
        resident.append(operator.resident_kib() / 1024)
    where = sampling.end()
    passed = time.perf_counter() - began
    after = requests(plane)
    number = max(operator.counter("sweep_seconds_count") - polls, 1)
    return {
        "rest_mib": statistics.median(resident),
        "polls_per_second": number / passed,
        "poll_cpu_ms": (operator.cpu_seconds() - cpu) * 1000 / number,
        "redis_cpu_ms": (redis_server.process.cpu_seconds() - redis_cpu) * 1000 / number,
        "rest_requests_per_second": (after[0] - before[0]) / passed,
        "rest_reconciles_per_second": (operator.counter("reconciles_total") - reconciles) / passed,
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
        lambda: f"all are reconciled; {again.served()} of {size}\n{again.output()}",
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


def burst(plane, operator, cluster, redis_server, size, profile, alone=False):
    """Jobs at one moment for many queues, and their end. Only heads have a record, since the autoscaler reads no other.

    `alone` makes no pods: a thousand Deployments take minutes to get theirs here.
    """
    some = [f"q{number}" for number in range(0, size, max(size // BURST, 1))][:BURST]
    client = redis_server.client()
    everybody = {**plane.processes, "redis": redis_server.process, "operator": operator}
    before, cpu = requests(plane), {name: process.cpu_seconds() for name, process in everybody.items()}
    sampling = profile()
    with held(plane, alone):
        began = enqueue(client, some)
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
        if not alone:
            until(
                lambda: not cluster.short,
                lambda: f"all have pods; {len(cluster.short)} lack some\n{operator.output()}\n{pods(plane)}",
                900,
                0.1,
            )
            result["ready_seconds"] = time.perf_counter() - began
            quiet(operator)
        after = requests(plane)
        result |= {
            "back_seconds": back(client, operator, cluster, some),
            "requests": after[0] - before[0],
            "busiest": busiest(before[1], after[1]),
        }
    return {f"{'alone' if alone else 'burst'}_{field}": value for field, value in result.items()}


def enqueue(client, names):
    """Jobs for each queue in one transaction; returns when they were there."""
    fill_all = client.pipeline(transaction=True)
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    for name in names:
        fill_all.hset(f"rq:job:{name}-0", mapping={"enqueued_at": now, "status": "queued"})
        fill_all.rpush(f"rq:queue:{name}", *(f"{name}-{number}" for number in range(JOBS)))
    fill_all.execute()
    return time.perf_counter()


def back(client, operator, cluster, names):
    """The jobs are gone; returns how long it takes until no worker is asked for."""
    client.flushall()
    began = time.perf_counter()
    until(
        lambda: all(cluster.replicas.get(name) == 0 for name in names),
        lambda: f"all are back; {sum(cluster.replicas.get(name) == 0 for name in names)}\n{operator.output()}",
        300,
        0.1,
    )
    return time.perf_counter() - began
