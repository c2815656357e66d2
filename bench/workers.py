"""Jobs per second of one worker process, beside rq's own workers and the database's fastest way, all in one run.

    python -m bench.workers [--databases sqlite,postgres,mariadb] [--jobs 20000] [--rounds 3]
                            [--output target/bench.json]

The job is the companies example: one parent row and about four children, committed durably. For each database, in turn:

  jobqueue       one `jobqueue-worker` process
  rq simple      one rq SimpleWorker (no fork), the same job in Python
  rq default     one rq Worker (a fork per job), the same job in Python
  ceiling        the same rows without any queue, the database's fastest way: COPY (PostgreSQL), multi-row INSERT
                 (MariaDB), one transaction (SQLite)

Rounds alternate between them, and the median counts, so that a noisy machine disturbs all alike. Nothing is asserted:
look at the ratios, not at the absolute numbers.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import rq

from e2e.harness import ROOT, backlog, companies, databases
from e2e.harness.producer import Producer
from e2e.harness.redis_server import RedisServer
from e2e.harness.waiting import until
from e2e.harness.workers import JobQueueWorker, PythonWorker

from .ceiling import load

POLL_COMMANDS = 5  # of one backlog.read


def start_worker(kind, directory, redis_server, database, name):
    if kind == "jobqueue":
        return JobQueueWorker(
            directory,
            redis_server.url,
            database.url,
            name=name,
            env={"JOBQUEUE_LOG": "warn"},
            worker={"concurrency": 4, "batchSize": 200},
        )
    return PythonWorker(
        directory, redis_server.url, database.url, name=name, simple=kind == "rq simple", scheduler=False
    )


class Traffic:
    """What Redis was asked to do between two moments, without what this program asked."""

    def __init__(self, client):
        self.client = client
        self.polls = 0
        client.config_resetstat()

    def poll(self):
        self.polls += 1
        return backlog.read(self.client)

    def read(self, jobs):
        commands = sum(
            entry["calls"]
            for name, entry in self.client.info("commandstats").items()
            if not name.startswith(("cmdstat_info", "cmdstat_config", "cmdstat_client"))
        )
        reads = self.client.info("stats")["total_reads_processed"]
        return (commands - POLL_COMMANDS * self.polls) / jobs, (reads - self.polls - 2) / jobs


def measure(kind, jobs, lines, directory, redis_server, database, name):
    """Jobs per second from the first completion to the last, peak resident MiB, commands and round trips a job."""
    client = redis_server.client()
    client.flushall()
    database.empty()
    database.tidy()
    Producer(client).enqueue(lines[:jobs])
    traffic = Traffic(client)
    worker = start_worker(kind, directory, redis_server, database, name)
    servers = (
        {"cpu_redis": redis_server.process, "cpu_database": database.process}
        if database.process
        else {"cpu_redis": redis_server.process}
    )
    most = 0

    def ended(number):
        nonlocal most
        assert worker.alive(), worker.output()
        most = max(most, worker.resident_kib())
        now = traffic.poll()
        return now.finished + now.failed >= number and now.finished + now.failed

    try:
        first = until(lambda: ended(1), lambda: f"a first job ends\n{worker.output()}", 120, pause=0.005)
        start = time.perf_counter()
        processes = {"cpu_worker": worker, **servers}
        before = {who: process.cpu_seconds() for who, process in processes.items()}
        until(lambda: ended(jobs), lambda: f"all end: {backlog.read(client)}\n{worker.output()}", 900, pause=0.01)
        seconds = time.perf_counter() - start
        used = {who: (process.cpu_seconds() - before[who]) * 1e6 / (jobs - first) for who, process in processes.items()}
        commands, trips = traffic.read(jobs)
    finally:
        worker.stop()
    found = database.counts()[0]
    assert found == jobs, f"{kind}: {found} of {jobs} companies"
    return {
        "per_second": (jobs - first) / seconds,
        "resident_mib": most / 1024,
        "commands": commands,
        "round_trips": trips,
        **used,
    }


def rounds_of(database, args, directory, redis_server, lines):
    sizes = {"jobqueue": args.jobs, "rq simple": args.simple_jobs, "rq default": args.default_jobs}
    samples = {kind: [] for kind in [*sizes, "ceiling"]}
    for turn in range(args.rounds):
        for kind, jobs in sizes.items():
            result = measure(kind, jobs, lines, directory, redis_server, database, f"{kind.replace(' ', '-')}{turn}")
            samples[kind].append(result)
            note(database, turn, kind, result["per_second"])
        database.empty()
        samples["ceiling"].append({"per_second": load(database, lines[: args.jobs])})
        note(database, turn, "ceiling", samples["ceiling"][-1]["per_second"])
    return {
        kind: {field: statistics.median(sample[field] for sample in taken) for field in taken[0]}
        for kind, taken in samples.items()
    }


def note(database, turn, kind, rate):
    print(f"{database.kind:9} round {turn + 1}: {kind:11} {rate:10,.0f} jobs/s", file=sys.stderr, flush=True)


def table(results):
    yield (
        f"{'database':10}{'worker':12}{'jobs/s':>9}{'x simple':>10}{'x default':>11}{'of ceiling':>12}{'resident':>11}"
        f"{'commands/job':>14}{'trips/job':>11}  {'processor µs/job: worker, Redis, database'}"
    )
    for database, kinds in results.items():
        for kind, numbers in kinds.items():
            rate = numbers["per_second"]
            row = f"{database:10}{kind:12}{rate:9,.0f}"
            row += f"{rate / kinds['rq simple']['per_second']:9.1f}x{rate / kinds['rq default']['per_second']:10.1f}x"
            row += f"{rate / kinds['ceiling']['per_second']:11.0%} "
            if "resident_mib" in numbers:
                row += f"{numbers['resident_mib']:6.0f} MiB{numbers['commands']:14.1f}{numbers['round_trips']:11.2f}"
                row += "".join(
                    f"{numbers[who]:9,.0f}" for who in ("cpu_worker", "cpu_redis", "cpu_database") if who in numbers
                )
            yield row


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--databases", default=",".join(databases.KINDS))
    parser.add_argument("--jobs", type=int, default=20_000, help="for jobqueue-worker and the ceiling (default 20000)")
    parser.add_argument("--simple-jobs", type=int, default=400, help="for rq's SimpleWorker (default 400)")
    parser.add_argument("--default-jobs", type=int, default=60, help="for rq's Worker (default 60)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", default=str(ROOT / "target" / "bench.json"), metavar="FILE")
    return parser.parse_args()


def main():
    args = arguments()
    lines = companies.make(args.jobs, seed=2)
    results = {}
    with tempfile.TemporaryDirectory(prefix="jobqueue-bench-") as directory:
        os.chmod(directory, 0o755)
        redis_server = RedisServer(Path(directory) / "redis")
        for kind in args.databases.split(","):
            database = databases.start(kind, Path(directory) / kind)
            results[kind] = rounds_of(database, args, Path(directory), redis_server, lines)
            database.stop()
        redis_server.stop()
    print("\n".join(table(results)))
    print(
        f"\n{os.cpu_count()} cores, {platform.system()} {platform.release()}, rq {rq.VERSION},"
        f" Python {platform.python_version()};"
        f" median of {args.rounds}; durable commits"
    )
    Path(args.output).parent.mkdir(exist_ok=True)
    Path(args.output).write_text(
        json.dumps({"rq": rq.VERSION, "cores": os.cpu_count(), "results": results}, indent=1), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
