"""Fixtures of the interop tests: one redis-server for all tests of a process, a fresh SQLite file and a fresh worker
for each test.

`--worker python` puts rq's own worker in the place of ours. That is how each test's expectations were proved: what it
asserts is what rq does.
"""

import time

import pytest
import rq
from rq import Queue
from rq.job import JobStatus
from rq.serializers import JSONSerializer

from e2e.harness import backlog, companies, databases
from e2e.harness.companies import FUNCTION
from e2e.harness.redis_server import RedisServer
from e2e.harness.waiting import until
from e2e.harness.workers import JobQueueWorker, PythonWorker, wait_until_registered

RQ_3 = int(rq.VERSION.split(".")[0]) >= 3


def pytest_addoption(parser):
    parser.addoption("--worker", choices=["jobqueue", "python"], default="jobqueue", help="whose worker is under test")


def pytest_collection_modifyitems(config, items):
    python = config.getoption("--worker") == "python"
    for item in items:
        if python and item.get_closest_marker("ours"):
            item.add_marker(pytest.mark.skip(reason="beyond rq's own worker"))
        if not RQ_3 and item.get_closest_marker("rq3"):
            item.add_marker(pytest.mark.skip(reason="needs rq 3.0"))


def pytest_report_header(config):
    return f"rq {rq.VERSION}, worker under test: {config.getoption('--worker')}"


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def redis(redis_server):
    connection = redis_server.client()
    connection.flushall()
    yield connection
    connection.close()


@pytest.fixture
def database(tmp_path):
    return databases.start("sqlite", tmp_path)


@pytest.fixture(scope="session")
def lines():
    """Good lines; tests that need bad ones make them."""
    return companies.make(40, seed=7)


@pytest.fixture
def queue(redis):
    return Queue("companies", connection=redis)


@pytest.fixture
def json_queue(redis):
    return Queue("companies", connection=redis, serializer=JSONSerializer)


class WorkersUnderTest:
    """Starts workers of the kind under test (or of a named kind) and sees to it that they end."""

    def __init__(self, kind, directory, redis_server, redis, database):
        self.kind, self.directory, self.server, self.redis, self.database = (
            kind,
            directory,
            redis_server,
            redis,
            database,
        )
        self.processes = []

    @property
    def is_python(self):
        return self.kind == "python"

    def start(self, queues=("companies",), kind=None, serializer=None, order=None, **settings):
        """`serializer` is for rq's worker, which must know it; `order` is a strategy of rq; `settings` are for ours."""
        kind = kind or self.kind
        name = f"{kind}{len(self.processes)}"
        if kind == "python":
            worker = PythonWorker(
                self.directory, self.server.url, self.database.url, queues, name, serializer=serializer, order=order
            )
        else:
            if order:
                settings["queue"] = {
                    "order": {"round_robin": "RoundRobin", "random": "Random"}[order],
                    **settings.get("queue", {}),
                }
            worker = JobQueueWorker(self.directory, self.server.url, self.database.url, queues, name, **settings)
        self.processes.append(worker)
        wait_until_registered(self.redis, worker, number=sum(process.alive() for process in self.processes))
        return worker

    def reaches(self, job, status, seconds=30):
        """Waits until the job has that status, by rq's own reading."""

        def reached():
            return job.get_status(refresh=True) == status

        until(reached, lambda: f"job {job.id} is {status}, it is {job.get_status(refresh=True)}\n{self.log()}", seconds)
        job.refresh()
        return job

    def log(self):
        return "\n".join(f"--- {process.log}\n{process.output(4000)}" for process in self.processes)


@pytest.fixture
def workers(request, tmp_path, redis_server, redis, database):
    under_test = WorkersUnderTest(request.config.getoption("--worker"), tmp_path, redis_server, redis, database)
    yield under_test
    for process in under_test.processes:
        process.stop(seconds=15)


@pytest.fixture
def worker(workers):
    """One worker of the kind under test, on the queue `companies`."""
    return workers.start()


@pytest.fixture
def lock(database):
    """Holds SQLite as somebody else would: a job that writes runs until it is let go."""
    held = []

    def take():
        connection = database.connect()
        connection.isolation_level = None
        connection.execute("BEGIN IMMEDIATE")
        held.append(connection)
        return connection

    yield take
    for connection in held:
        connection.close()


class RunningJob:
    """A job that a worker holds until it is let go."""

    def __init__(self, job, lock):
        self.job, self._lock = job, lock

    def let_go(self):
        self._lock.execute("ROLLBACK")


@pytest.fixture
def start_job(lock, queue, workers):
    """Enqueues, and waits until a worker holds it."""

    def hold(line, job_id="company-42", **options):
        held = lock()
        job = workers.reaches(queue.enqueue(FUNCTION, line, job_id=job_id, **options), JobStatus.STARTED)
        # Claimed, it is on its way to the database; what is enqueued next is not to overtake it there.
        time.sleep(0.2)
        return RunningJob(job, held)

    return hold


@pytest.fixture
def written(database, workers):
    """Waits until the table holds exactly these lines' companies; with `in_order`, in this order."""

    def rows(lines, in_order=False, seconds=30):
        def names():
            return [row[0] for row in database.query("SELECT name FROM company_regist_info ORDER BY id")]

        wanted = companies.names(lines)
        until(
            lambda: len(names()) >= len(wanted),
            lambda: f"{wanted} are written, there is {names()}\n{workers.log()}",
            seconds,
        )
        found = names()
        assert (found == wanted) if in_order else (sorted(found) == sorted(wanted)), (
            f"{found}, not {wanted}\n{workers.log()}"
        )

    return rows


@pytest.fixture
def quiet(redis, workers):
    """Waits until no job waits or runs, and nothing is left of those that did."""

    def wait_until_quiet(*queues, seconds=30):
        until(
            lambda: not backlog.unfinished(redis, *queues),
            lambda: f"{backlog.unfinished(redis, *queues)} go\n{workers.log()}",
            seconds,
        )

    return wait_until_quiet
