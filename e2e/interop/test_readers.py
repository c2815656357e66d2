"""The tools people have: `rq info`, `rq requeue`, `Worker.all()`, and the pages and JSON of rq-dashboard."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from rq import Worker
from rq.job import JobStatus

from e2e.harness.companies import FUNCTION
from e2e.harness.process import Process, free_port
from e2e.harness.waiting import until

TOOLS = Path(sys.executable).parent


def run_rq(redis_server, *arguments):
    done = subprocess.run(
        [TOOLS / "rq", *arguments, "--url", redis_server.url], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def some_done(queue, workers, worker, lines):
    """Five that finished and two that failed."""
    good = [queue.enqueue(FUNCTION, line) for line in lines[:5]]
    bad = [queue.enqueue(FUNCTION, line[:70]) for line in lines[5:7]]
    for job in good:
        workers.reaches(job, JobStatus.FINISHED)
    for job in bad:
        workers.reaches(job, JobStatus.FAILED)
    return good, bad


def test_workers_as_rq_sees_them(redis, queue, worker, some_done):
    until(lambda: [each.get_state() for each in Worker.all(connection=redis)] == ["idle"], "the worker is idle")
    [seen] = Worker.all(connection=redis)
    assert seen.queue_names() == ["companies"]
    assert seen.successful_job_count == 5
    assert seen.failed_job_count == 2
    assert seen.total_working_time > 0
    assert seen.pid
    assert seen.hostname
    assert seen.birth_date and seen.last_heartbeat
    assert seen.get_current_job() is None
    assert Worker.count(queue=queue) == 1
    assert some_done[0][0].worker_name == seen.name
    assert Worker.find_by_key(seen.key, connection=redis).name == seen.name


def test_the_worker_is_gone_after_it_ends(redis, queue, worker, some_done):
    assert worker.stop() == 0
    assert Worker.all(connection=redis) == []
    assert redis.scard("rq:workers") == 0
    assert redis.scard("rq:workers:companies") == 0


def test_rq_info(redis_server, worker, some_done):
    shown = run_rq(redis_server, "info")
    assert "companies" in shown
    assert "1 workers" in shown
    raw = run_rq(redis_server, "info", "--raw")
    assert "queue companies 0" in raw.replace("  ", " ")
    by_queue = run_rq(redis_server, "info", "--by-queue")
    assert "companies" in by_queue


def test_rq_info_changes_nothing(redis_server, redis, queue, worker, some_done):
    """It cleans registries; ours give it nothing to move."""
    run_rq(redis_server, "info")
    assert queue.finished_job_registry.count == 5
    assert queue.failed_job_registry.count == 2
    assert {job.get_status(refresh=True) for job in some_done[0]} == {JobStatus.FINISHED}


def test_rq_requeue_all(redis_server, queue, workers, worker, some_done):
    before = {job.id: job.latest_result().id for job in some_done[1]}
    run_rq(redis_server, "requeue", "--all", "--queue", "companies")
    for job in some_done[1]:
        until(lambda job=job: job.latest_result().id != before[job.id], lambda: f"it runs again\n{workers.log()}")
        workers.reaches(job, JobStatus.FAILED)
    assert queue.failed_job_registry.count == 2


def test_rq_requeue_one(redis_server, queue, workers, worker, some_done):
    job = some_done[1][0]
    before = job.latest_result().id
    run_rq(redis_server, "requeue", "--queue", "companies", job.id)
    until(lambda: job.latest_result().id != before, lambda: f"it runs again\n{workers.log()}")


class Dashboard:
    """A running rq-dashboard."""

    def __init__(self, redis_server, directory):
        port = free_port()
        self.base = f"http://127.0.0.1:{port}"
        self.process = Process(
            [TOOLS / "rq-dashboard", "--bind", "127.0.0.1", "--port", port, "--redis-url", redis_server.url],
            directory / "dashboard.log",
        )
        until(self._answers, lambda: f"rq-dashboard answers\n{self.process.output()}")

    def _answers(self):
        try:
            return self.get("/0/data/queues.json")
        except urllib.error.URLError:
            return False

    def get(self, path):
        with urllib.request.urlopen(self.base + path, timeout=10) as answer:
            assert answer.status == 200
            return answer.read().decode("utf-8")

    def json(self, path):
        return json.loads(self.get(path))


@pytest.fixture
def dashboard(redis_server, tmp_path):
    board = Dashboard(redis_server, tmp_path)
    yield board
    board.process.stop()


def test_dashboard_numbers(dashboard, worker, some_done):
    [shown] = [each for each in dashboard.json("/0/data/queues.json")["queues"] if each["name"] == "companies"]
    assert shown["finished_job_registry_count"] == 5
    assert shown["failed_job_registry_count"] == 2
    assert shown["started_job_registry_count"] == 0
    assert shown["count"] == 0
    finished = dashboard.json("/0/data/jobs/companies/finished/25/asc/1.json")
    assert {job["id"] for job in finished["jobs"]} == {job.id for job in some_done[0]}
    failed = dashboard.json("/0/data/jobs/companies/failed/25/asc/1.json")
    assert {job["id"] for job in failed["jobs"]} == {job.id for job in some_done[1]}
    [seen] = dashboard.json("/0/data/workers.json")["workers"]
    assert seen["queues"] == ["companies"]


def test_dashboard_pages(dashboard, worker, some_done):
    for page in ["/", "/0/view", "/0/view/queues", "/0/view/jobs", "/0/view/workers"]:
        assert "<html" in dashboard.get(page)
    for job in [some_done[0][0], some_done[1][0]]:
        assert job.id in dashboard.get(f"/0/view/job/{job.id}")
        shown = dashboard.json(f"/0/data/job/{job.id}.json")
        assert shown["id"] == job.id
        assert shown["status"] == job.get_status()
    assert dashboard.json(f"/0/data/job/{some_done[1][0].id}.json")["exc_info"]


def test_dashboard_requeues(dashboard, queue, workers, worker, some_done):
    job = some_done[1][1]
    before = job.latest_result().id
    request = urllib.request.Request(f"{dashboard.base}/job/{job.id}/requeue", method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
    until(lambda: job.latest_result().id != before, lambda: f"it runs again\n{workers.log()}")
