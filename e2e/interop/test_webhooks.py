"""Webhooks (rq 2.10 and later): told after the end is on record."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from rq.job import JobStatus
from rq.webhook import Webhook

from e2e.harness.companies import FUNCTION
from e2e.harness.waiting import until

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def listener():
    calls = []

    class Handler(BaseHTTPRequestHandler):
        """Notes what it is told."""

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            calls.append(("POST", self.path, json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def do_GET(self):
            calls.append(("GET", self.path, None))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", calls
    server.shutdown()


def test_finished_and_failed(listener, queue, workers, lines):
    base, calls = listener
    hooks = [
        Webhook(f"{base}/done", "finished", method="POST"),
        Webhook(f"{base}/broken", "failed", method="POST", headers={"X-Team": "a"}),
        Webhook(f"{base}/got", "finished"),
    ]
    good = workers.reaches(queue.enqueue(FUNCTION, lines[0], webhooks=hooks), JobStatus.FINISHED)
    bad = workers.reaches(queue.enqueue(FUNCTION, lines[1][:60], webhooks=hooks), JobStatus.FAILED)
    until(lambda: len(calls) == 3, lambda: f"three calls: {calls}\n{workers.log()}")
    bodies = {path: body for _, path, body in calls}
    assert set(bodies) == {"/done", "/got", "/broken"}
    assert bodies["/done"]["job_id"] == good.id
    assert bodies["/done"]["status"] == "finished"
    assert bodies["/done"]["func_name"] == FUNCTION
    assert bodies["/done"]["ended_at"]
    assert bodies["/broken"]["job_id"] == bad.id
    assert bodies["/broken"]["exc_info"]


def test_a_listener_that_is_away_changes_nothing(queue, workers, lines):
    job = queue.enqueue(FUNCTION, lines[0], webhooks=[Webhook("http://127.0.0.1:1/nobody", "finished", timeout=1)])
    workers.reaches(job, JobStatus.FINISHED)
