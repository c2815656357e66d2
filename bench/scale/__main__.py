"""What one operator costs with many JobQueues: memory, processor, requests, and how soon it is done with all of them.

    python -m bench.scale [--sizes 100,1000,10000] [--rest 60] [--floor] [--profile] [--output target/scale.json]

For each size, a control plane without nodes (`control_plane.py`; kwok plays the pods), one Redis, and one operator
beside them with the rights of `install.yaml`. Half of the queues have a recipe (`ingest`), half bring an image of
their own; all read their URLs from a Secret, a hundred queues share a namespace. In turn:

  first      the operator starts and has everything to make: until each queue has a Deployment and is Ready
  rest       nothing happens: memory, processor of a poll, processor of Redis, requests to the API server
  restart    the operator is killed and starts again: until it has reconciled every queue
  burst      jobs come to 1,000 queues (or all) at one moment: until each Deployment asks for its workers; first with
             Kubernetes' controllers held (SIGSTOP), so that no pods are made and only the operator, the API server and
             etcd work; then with all of them, and on until all pods are ready, which takes minutes (7 to 40 pods a
             second on two cores)
  back       the jobs are gone: until each asks for none; in either burst

`--floor` first makes as many bare Deployments of no workers, without operator or queues: what Kubernetes itself needs
for them here.

Nothing is asserted. Everything shares this machine, so that the API server's and its controllers' work is in the times;
`--profile` samples the operator with `perf`, where that is installed and the binary has symbols.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

from e2e.harness import ROOT
from e2e.harness.redis_server import RedisServer

from .control_plane import ControlPlane
from .manifests import fill, install
from .observe import Cluster, Operator, Profile
from .phases import burst, first, floor, quiet, rest, restart

AIMS = {
    "rest_mib": 64,
    "worst_mib": 128,
    "poll_cpu_ms": 100,
    "first_seconds": 120,
    "restart_seconds": 120,
    "burst_seconds": 5,
}


def measure(size, args, directory):
    """All phases with so many queues."""
    bottom = floor(size, args.limit, directory) if args.floor else {}
    if bottom:
        say(size, "as many bare Deployments: {floor_seconds:.1f} s", bottom)
        say(size, "the API server's processor seconds for them: {floor_api_cpu_seconds:.1f}", bottom)
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
        say(size, "all Ready after {first_seconds:.1f} s", result)
        quiet(processes[-1])
        result |= rest(plane, processes[-1], redis_server, args.rest, profile)
        say(size, "at rest {rest_mib:.0f} MiB, {poll_cpu_ms:.0f} ms a poll", result)
        say(size, "at rest {rest_requests_per_second:.1f} requests/s", result)
        worst = processes[-1].most_kib()
        operator, again = restart(plane, processes[-1], start, size, args.limit)
        result |= again
        say(size, "again after {restart_seconds:.1f} s, {restart_requests:.0f} requests", result)
        quiet(operator)
        result |= burst(plane, operator, cluster, redis_server, size, profile, alone=True)
        say(size, "burst with the controllers held: {alone_seconds:.1f} s, processor s {alone_cpu_seconds}", result)
        quiet(operator)
        say(size, "burst with all of them, and 2 pods for each queue of it")
        result |= burst(plane, operator, cluster, redis_server, size, profile)
        say(size, "burst on {burst_queues}: {burst_seconds:.1f} s, processor seconds {burst_cpu_seconds}", result)
        say(size, "pods ready after {burst_ready_seconds:.1f} s, back after {burst_back_seconds:.1f} s", result)
        cluster.close()
        return {**result, "worst_mib": max(worst, operator.most_kib()) / 1024, "warnings": operator.output(1500)}
    finally:
        for process in [*processes, redis_server.process]:
            if process.alive():
                process.stop(10)
        plane.stop()


def say(size, text, numbers=None):
    print(f"{size:6}: {text.format(**numbers or {})}", file=sys.stderr, flush=True)


def table(results):
    rows = [
        ("queues", "size", "{:,.0f}"),
        ("as many bare Deployments, s", "floor_seconds", "{:.1f}"),
        ("  processor of the API server for it, s", "floor_api_cpu_seconds", "{:.1f}"),
        ("first start: all Ready, s", "first_seconds", "{:.1f}"),
        ("  requests of the operator", "first_requests", "{:,.0f}"),
        ("restart: all reconciled, s", "restart_seconds", "{:.1f}"),
        ("  requests of the operator", "restart_requests", "{:,.0f}"),
        ("at rest: resident MiB", "rest_mib", "{:.0f}"),
        ("  processor ms a poll, all else included", "poll_cpu_ms", "{:.1f}"),
        ("  processor ms of Redis a poll", "redis_cpu_ms", "{:.1f}"),
        ("  polls a second", "polls_per_second", "{:.1f}"),
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
