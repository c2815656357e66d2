"""A Redis with queues in trouble, a dashboard for it, and a Chromium that asks nobody else."""

import json
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from e2e.harness.process import Process, free_port
from e2e.harness.redis_server import RedisServer
from e2e.harness.waiting import until

from .api_server import ApiServer
from .failures import fail, wait, work

ROOT = Path(__file__).resolve().parents[2]
# A chart has its first line after two samples, which are five seconds apart.
expect.set_options(timeout=20_000)
HOSTILE = (
    "<script>window.pwned=1</script>",
    "\"><img src=http://192.0.2.1/x onerror='window.pwned=2'>",
    "\u202egnp.exe\u202c'><svg/onload=alert(3)>",
    "{{7*7}}${7*7}<iframe src=javascript:alert(4)>",
    "y" * 200_000,
    'Traceback (most recent call last):\n  File "x.py", line 3, in f\nValueError: '
    + "M" * 1_000_000
    + "\nDETAIL: more",
)


def pytest_addoption(parser):
    parser.addoption("--pictures", action="store_true", help="write the pictures of the documentation")


def program(name):
    """Of JOBQUEUE_BIN (a directory), or what `cargo build` made."""
    given = os.environ.get("JOBQUEUE_BIN")
    if given:
        return Path(given) / name
    return max(ROOT.glob(f"target/*/debug/{name}"), key=lambda path: path.stat().st_mtime)


class Dashboard:
    """The command, and the address that it prints."""

    def __init__(self, directory, redis, *arguments):
        self.redis = redis
        self.process = Process(
            [program("jobqueue"), "dashboard", "--redis", redis.url, *arguments],
            directory / f"dashboard-{len(list(directory.iterdir()))}.log",
            env={"KUBECONFIG": "/nowhere"},
        )
        self.url = until(self._printed, lambda: f"the address\n{self.process.output()}")
        self.base = self.url.split("/?token=")[0]

    def _printed(self):
        lines = self.process.output().splitlines()
        return next((line for line in lines if "/?token=" in line), None)


@pytest.fixture(scope="session")
def redis(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def queues(redis):
    """Three queues: with failed jobs of two causes and hostile ones, with a backlog and a worker, and a calm one."""
    client = redis.client()
    client.flushall()
    late = [
        (f"late-{n}", json.dumps({"No": n, "Name": "甲"}), f"founded_date: '{n}' is not a date", n * 60)
        for n in range(40)
    ]
    long = [
        (f"long-{n}", json.dumps({"No": n}), f"name: {n} characters are too many for 64", n * 200) for n in range(12)
    ]
    bad = [(f"bad-{n}'\"<b>", text, f"{text} is no record", 10) for n, text in enumerate(HOSTILE)]
    fail(client, "companies", late + long)
    fail(client, "hostile", bad)
    wait(client, "orders", 250)
    work(client, "orders", job="orders-waits-0")
    wait(client, "calm", 0)
    return client


@pytest.fixture
def dashboard(queues, redis, tmp_path):
    served = Dashboard(tmp_path, redis)
    yield served
    assert served.process.stop() == 0, served.process.output()


@pytest.fixture
def read_only(queues, redis, tmp_path):
    served = Dashboard(tmp_path, redis, "--read-only")
    yield served
    assert served.process.stop() == 0, served.process.output()


@pytest.fixture
def base(tmp_path, request):
    """The address of `jobqueue-dashboard` beside an API server, and of the test's Prometheus, if it has one."""
    server, port = ApiServer(tmp_path), free_port()
    flags = []
    if "prometheus" in request.fixturenames:
        flags = ["--prometheus", request.getfixturevalue("prometheus").url]
    process = Process(
        [program("jobqueue-dashboard"), "--listen", f"127.0.0.1:{port}", *flags],
        tmp_path / "dashboard.log",
        env={"KUBECONFIG": str(server.kubeconfig)},
    )
    address = f"http://localhost:{port}"

    def answers():
        try:
            return urllib.request.urlopen(f"{address}/healthz", timeout=5).status == 200
        except urllib.error.URLError:
            return False

    until(answers, lambda: f"the dashboard answers\n{process.output()}")
    yield address
    assert process.stop() == 0, process.output()
    server.stop()


@pytest.fixture(scope="session")
def chromium():
    path = shutil.which("chromium")
    assert path, "chromium is not installed: ./dev setup"
    with sync_playwright() as playwright:
        # Root has no sandbox; what is shown comes from the test.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """A page, and whatever it should not do."""

    def __init__(self, page, base):
        self.page, self.requests, self.dialogs, self.complaints = page, [], [], []
        self.base = base
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._said)

    def _said(self, said):
        # Chromium complains of a page that is not there; the tests go to one on purpose.
        if said.type == "error" and "/no-such-" not in said.location["url"]:
            self.complaints.append(f"{said.text} ({said.location['url']})")

    def is_quiet(self):
        elsewhere = [url for url in self.requests if not url.startswith(self.base + "/")]
        assert not elsewhere, elsewhere
        assert not self.dialogs, self.dialogs
        assert not self.complaints, self.complaints
        assert self.page.evaluate("window.pwned") is None


def hide(page, hidden):
    """As a browser does where another tab is in front, or this one again. Without a window it shows all of them."""
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


@pytest.fixture
def opened(chromium):
    """Opens a dashboard as a person would: opened(dashboard, **settings of the context). All pages stay quiet."""
    contexts, pages = [], []

    def open_in(served, **settings):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        watched = Watched(page, served.base)
        pages.append((watched, settings))
        page.goto(served.url)
        page.wait_for_url(served.base + "/")
        page.get_by_role("link", name="local/companies", exact=True).wait_for()
        return page

    yield open_in
    for watched, settings in pages:
        if settings.get("java_script_enabled", True):
            watched.is_quiet()
    for context in contexts:
        context.close()
