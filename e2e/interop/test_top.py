"""`jobqueue top` and `jobqueue status --watch` in a terminal, with jobs of rq that our worker does and fails."""

import json
import signal
import subprocess

import pytest
import yaml
from rq.job import JobStatus

from e2e.harness.companies import EXAMPLE, FUNCTION
from e2e.harness.terminal import Terminal
from e2e.harness.waiting import until
from e2e.harness.workers import binary

pytestmark = pytest.mark.ours
HOSTILE = "\x1b]0;pwned\x07\x1b[2J\u202e"


@pytest.fixture
def manifest(redis_server, tmp_path):
    """The example, and a second queue, in one file."""
    queue = yaml.safe_load((EXAMPLE / "jobqueue.yaml").read_text(encoding="utf-8"))
    queue["spec"]["queue"]["redis"] = {"url": redis_server.url}
    calm = json.loads(json.dumps(queue))
    calm["metadata"]["name"], calm["spec"]["queue"]["names"] = "calm", ["calm"]
    path = tmp_path / "queues.yaml"
    path.write_text(yaml.safe_dump_all([queue, calm]), encoding="utf-8")
    return path


@pytest.fixture
def top(manifest):
    """Opens it with more arguments, or in a terminal of another size."""
    opened = []

    def start(*arguments, **settings):
        command = [binary("jobqueue"), "top", "-f", manifest, *arguments]
        settings["env"] = {"KUBECONFIG": "/nowhere", "NO_COLOR": "", **settings.get("env", {})}
        opened.append(Terminal(command, **settings))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.__exit__()


@pytest.fixture
def failed(queue, workers, worker, lines):
    """Two failed jobs of one cause and one of another, and some that were done."""
    jobs = [queue.enqueue(FUNCTION, text) for text in ("{", "{", json.dumps({"Company": HOSTILE}))]
    for job in jobs:
        workers.reaches(job, JobStatus.FAILED)
    for line in lines[:3]:
        workers.reaches(queue.enqueue(FUNCTION, line), JobStatus.FINISHED)
    return jobs


def test_a_person_sees_the_queue_and_why_its_jobs_failed(top, failed, worker):
    terminal = top()
    terminal.shows("2 queues: 0 stalled, 0 not ready, 0 degraded, 1 with failed jobs.", "companies", "calm")
    # The one with failed jobs comes first, with its worker.
    assert terminal.text.index("companies ") < terminal.text.index("calm ")
    assert terminal.line("Failures").split()[:3] == ["companies", "Failures", "1"], terminal.text
    terminal.press("/", "alm", "Enter")
    terminal.shows("1 match alm")
    assert "companies" not in terminal.text
    terminal.press("Esc")
    terminal.shows("companies")
    terminal.press("Up", "Enter")
    terminal.shows("JobQueue > companies", "1 Workers 1", "2 Failed 3", "3 Why", "idle", "DONE")
    assert "3" in terminal.line("idle").split(), terminal.text
    terminal.press("Tab")
    terminal.shows("3 jobs of 2 causes.", "CAUSE", "JSON")
    terminal.press("Enter")
    terminal.shows("one cause", f"2 jobs of {FUNCTION}", "ERROR")
    shown = {job.id for job in failed if job.id[:20] in terminal.text}
    assert shown == {job.id for job in failed[:2]}, terminal.text
    terminal.press("Esc")
    terminal.shows("CAUSE")
    terminal.press("Esc")
    terminal.shows("Sorted by trouble")
    terminal.press("q")
    assert terminal.ended() == 0
    assert terminal.is_restored()
    assert b"\x1b]0;" not in terminal.written, "what a record says is not obeyed"


def test_what_happens_is_seen_without_a_key(top, queue, workers, redis):
    terminal = top(columns=120, lines=40)
    terminal.shows("2 queues: 0 stalled, 0 not ready", "Idle")
    queue.enqueue(FUNCTION, "{")
    terminal.shows("1 not ready", "no worker serves this queue")
    workers.start()
    terminal.shows("1 with failed jobs", "companies: Jobs failed")
    terminal.resize(60, 12)
    terminal.shows("QUEUE")
    terminal.resize(3, 2)
    terminal.resize(80, 24)
    terminal.shows("1 with failed jobs", "FAILED")
    terminal.press("q")
    assert (terminal.ended(), terminal.is_restored()) == (0, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_puts_the_terminal_back(number, top, redis):
    terminal = top()
    terminal.shows("calm")
    assert not terminal.is_restored()
    assert (terminal.stop(number), terminal.is_restored()) == (0, True)


def test_it_can_be_stopped_and_goes_on(manifest, redis):
    """Ctrl-Z, in a shell with jobs."""
    shell = 'set -m; "$@"; echo "It stopped."; read -r; fg >/dev/null'
    command = ["bash", "-c", shell, "shell", binary("jobqueue"), "top", "-f", manifest]
    with Terminal(command, env={"KUBECONFIG": "/nowhere"}) as terminal:
        terminal.shows("calm")
        terminal.press("\x1a")
        terminal.shows("It stopped.")
        assert terminal.is_restored()
        terminal.press("Enter")
        terminal.shows("calm", "q quit")
        terminal.press("q")
        assert (terminal.ended(), terminal.is_restored()) == (0, True)


def test_no_colour_where_it_is_refused(top, redis):
    coloured, plain = top(), top(env={"NO_COLOR": "1"})
    for terminal in (coloured, plain):
        terminal.shows("Well")
        assert terminal.stop() == 0
    assert b"38;5;" in coloured.written
    assert b"38;5;" not in plain.written


def test_without_redis_it_says_so_and_goes_on(top, redis_server, manifest):
    manifest.write_text(manifest.read_text().replace(redis_server.url, "redis://127.0.0.1:1/0"))
    terminal = top()
    terminal.shows("2 not ready", "Redis cannot be read")
    terminal.press("Enter")
    terminal.shows("127.0.0.1:1")
    terminal.press("q")
    assert (terminal.ended(), terminal.is_restored()) == (0, True)


@pytest.fixture
def status(redis_server):
    return [binary("jobqueue"), "status", "--watch", "--redis", redis_server.url, "--queue", "companies"]


def test_status_watches_in_a_pipe(status, queue, redis, lines):
    """One document a line, for each change and for nothing else; the end of the reader is the end."""
    child = subprocess.Popen([*status, "-o", "json"], stdout=subprocess.PIPE, text=True)
    try:
        waiting = [json.loads(child.stdout.readline())["queues"][0]["waiting"]]
        for _ in range(2):
            queue.enqueue(FUNCTION, lines[0])
            waiting.append(json.loads(child.stdout.readline())["queues"][0]["waiting"])
        assert waiting == [0, 1, 2]
        child.stdout.close()
        assert child.wait(timeout=30) == 0
    finally:
        child.kill()
        child.wait()


def test_status_watches_in_a_terminal(status, queue, redis, lines):
    with Terminal(status, lines=10) as terminal:
        terminal.shows("QUEUE", "companies", "no workers")
        queue.enqueue(FUNCTION, lines[0])
        until(lambda: terminal.line("companies").split()[1:2] == ["1"], lambda: f"one waits\n{terminal.text}")
        assert terminal.text.count("QUEUE") == 1, f"in place: {terminal.text}"
        assert (terminal.stop(signal.SIGINT), terminal.is_restored()) == (0, True)
