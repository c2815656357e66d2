"""`jobqueue top` with many queues: a manifest of that many JobQueues on one Redis, each with jobs.

    python -m bench.top --queues 10000

Prints the seconds until the first page, the time until a page after a key, and the resident memory. A directory with a
release build can be named by JOBQUEUE_BIN.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from e2e.harness.process import processes
from e2e.harness.redis_server import RedisServer
from e2e.harness.terminal import Terminal
from e2e.harness.workers import binary


def manifest(path, redis, queues):
    """One document for each queue."""
    with open(path, "w", encoding="utf-8") as file:
        for number in range(queues):
            name = f"queue-{number:05}"
            spec = {"queue": {"names": [name], "redis": {"url": redis}}, "worker": {"image": "worker"}}
            queue = {
                "apiVersion": "jobqueue.dev/v1alpha1",
                "kind": "JobQueue",
                "metadata": {"name": name},
                "spec": spec,
            }
            file.write(f"---\n{json.dumps(queue)}\n")


def fill(client, queues):
    pipeline = client.pipeline(transaction=False)
    for number in range(queues):
        pipeline.rpush(f"rq:queue:queue-{number:05}", *(f"job-{number}-{job}" for job in range(number % 5)), "last")
    pipeline.execute()


def resident_mib(pid):
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return {
        name: int(line.split()[1]) / 1024
        for line in status.splitlines()
        for name in ("VmRSS", "VmHWM")
        if line.startswith(name)
    }


def processor_seconds(pid):
    """Of the process, so far."""
    return sum(map(int, processes()[pid][11:13])) / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queues", type=int, default=10_000)
    queues = parser.parse_args().queues
    with tempfile.TemporaryDirectory() as directory:
        server = RedisServer(Path(directory) / "redis")
        try:
            path = Path(directory) / "queues.yaml"
            manifest(path, server.url, queues)
            fill(server.client(), queues)
            began = time.monotonic()
            with Terminal([binary("jobqueue"), "top", "-f", path], env={"KUBECONFIG": "/nowhere"}) as terminal:
                terminal.shows(f"{queues:,} queues: ", "queue-0", seconds=300)
                seconds = time.monotonic() - began
                print(f"first page after {seconds:.2f} s, {processor_seconds(terminal.pid):.2f} s of a processor")
                for key, wanted in (("End", f"queue-{queues - 5:05}"), ("N", "Sorted by name"), ("g", "queue-00000")):
                    began = time.monotonic()
                    terminal.press(key)
                    terminal.shows(wanted)
                    print(f"{key}: {(time.monotonic() - began) * 1000:.0f} ms")
                time.sleep(10)
                print("memory", {name: f"{mib:.0f} MiB" for name, mib in resident_mib(terminal.pid).items()})
                terminal.press("q")
                assert terminal.ended() == 0
                assert terminal.is_restored()
        finally:
            server.stop()


if __name__ == "__main__":
    main()
