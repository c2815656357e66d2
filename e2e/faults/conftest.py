"""The big proofs, in two sizes: small for every change, `--full` for what the README claims.

Both sizes run the same code; what was measured is printed at the end and kept in `target/proofs.json`.
"""

import os
import random
import tempfile
from pathlib import Path

import pytest

from e2e.harness import databases, measured
from e2e.harness.redis_server import RedisServer


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="the sizes that are claimed, not those of every change")
    parser.addoption("--seed", type=int, default=0, help="of the random choices (0: a new one each time, printed)")
    parser.addoption("--databases", default=",".join(databases.KINDS), help="which ones, with commas between")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--full"):
        left_out = [item for item in items if item.get_closest_marker("with_full")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def pytest_generate_tests(metafunc):
    if "database" in metafunc.fixturenames:
        kinds = metafunc.config.getoption("--databases").split(",")
        small = metafunc.definition.get_closest_marker("small_on")
        if small and not metafunc.config.getoption("--full"):
            kinds = [kind for kind in kinds if kind in small.args] or kinds[:1]
        metafunc.parametrize("database", kinds, indirect=True)


@pytest.fixture
def full(request):
    return request.config.getoption("--full")


@pytest.fixture
def rng(request, measure):
    seed = request.config.getoption("--seed") or int.from_bytes(os.urandom(3), "big")
    measure(seed=seed)
    return random.Random(seed)


def pytest_terminal_summary(terminalreporter):
    measured.report(terminalreporter, "proofs.json", width=180)


@pytest.fixture
def database(request):
    """Not below pytest's own directory: another run closes that to other accounts, and PostgreSQL has its own."""
    with tempfile.TemporaryDirectory(prefix="jobqueue-database-") as directory:
        started = databases.start(request.param, Path(directory) / "database")
        yield started
        started.stop()


@pytest.fixture
def redis_server(tmp_path):
    """It forgets nothing that it has acknowledged, also when it is killed."""
    server = RedisServer(tmp_path / "redis", durable=True)
    yield server
    server.stop()


@pytest.fixture
def redis(redis_server):
    return redis_server.client()


@pytest.fixture
def start_worker(tmp_path, redis_server, database):
    """Starts worker processes and ends them; on another Redis where `server` is one."""
    from e2e.harness.workers import JobQueueWorker

    started = []

    def start(server=None, **changes):
        url = (server or redis_server).url
        worker = JobQueueWorker(tmp_path, url, database.url, name=f"worker{len(started)}", **changes)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        if worker.alive():
            worker.kill()
