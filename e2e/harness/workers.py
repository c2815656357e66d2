"""Workers as processes: ours from the built binary, and rq's own, started on the same queue and the same database."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from redis.exceptions import RedisError
from rq import Worker

from . import ROOT
from .companies import EXAMPLE
from .process import Process
from .waiting import until

PYTHON_RECIPE = Path(__file__).resolve().parent


@functools.cache
def build_directory():
    """Where `cargo build` leaves its binaries: below the target's name, which `.cargo/config.toml` asks for."""
    rustc = shutil.which("rustc") or Path.home() / ".cargo" / "bin" / "rustc"
    version = subprocess.run([rustc, "-vV"], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    return ROOT / "target" / re.search(r"^host: (\S+)", version, re.M)[1] / "debug"


def binary(name):
    """Of JOBQUEUE_BIN (a directory), or what `cargo build` made."""
    given = os.environ.get("JOBQUEUE_BIN")
    path = (Path(given) if given else build_directory()) / name
    assert path.exists(), f"{name} is not built: there is no {path}"
    return path


def worker_config(queues, **changes):
    """The example's manifest as a worker's config file; `changes` replace keys of its sections (`worker={...}`), or a
    section that has none (`ingest=[...]`)."""
    spec = yaml.safe_load((EXAMPLE / "jobqueue.yaml").read_text(encoding="utf-8"))["spec"]
    queue = {"protocol": spec["queue"]["protocol"], "names": list(queues), "leaseSeconds": 10}
    config = {
        "name": "companies",
        "queue": queue,
        "ingest": spec["ingest"],
        "retry": {"maxAttempts": 3, "backoffSeconds": 1, "maxBackoffSeconds": 2},
        "worker": spec["worker"],
    }
    for section, values in changes.items():
        config[section] = values if isinstance(values, list) else {**config.get(section, {}), **values}
    return config


class JobQueueWorker(Process):
    """One `jobqueue-worker`."""

    def __init__(self, directory, redis_url, database_url, queues=("companies",), name="worker", env=None, **changes):
        directory = Path(directory)
        config = directory / f"{name}.yaml"
        config.write_text(json.dumps(worker_config(queues, **changes), ensure_ascii=False), encoding="utf-8")
        super().__init__(
            [binary("jobqueue-worker"), "--config", config],
            directory / f"{name}.log",
            env={
                "JOBQUEUE_REDIS_URL": redis_url,
                "JOBQUEUE_DATABASE_URL": database_url,
                "JOBQUEUE_LISTEN": "",
                "JOBQUEUE_LOG_FORMAT": "text",
                **(env or {}),
            },
        )


class PythonWorker(Process):
    """One `rq worker`: the default one, which forks for each job, or `rq.worker.SimpleWorker`, which does not."""

    def __init__(
        self,
        directory,
        redis_url,
        database_url,
        queues=("companies",),
        name="python",
        simple=False,
        scheduler=True,
        burst=False,
        serializer=None,
        order=None,
    ):
        command = [
            Path(sys.executable).parent / "rq",
            "worker",
            "--url",
            redis_url,
            "--name",
            f"{name}-{os.urandom(3).hex()}",
            "--path",
            PYTHON_RECIPE,
        ]
        command += ["--worker-class", "rq.worker.SimpleWorker"] if simple else []
        command += ["--with-scheduler"] if scheduler else []
        command += ["--burst"] if burst else []
        command += ["--serializer", serializer] if serializer else []
        command += ["--dequeue-strategy", order] if order else []
        super().__init__(
            [*command, *queues],
            Path(directory) / f"{name}.log",
            env={"COMPANIES_DATABASE": database_url, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        )


def wait_until_registered(redis, process, number=1, seconds=30):
    """Until `number` workers are to be seen in Redis."""

    def registered():
        assert process.alive(), f"the worker ended:\n{process.output()}"
        try:
            return Worker.count(connection=redis) >= number
        except RedisError:
            return False

    until(registered, lambda: f"{number} workers register\n{process.output()}", seconds)
