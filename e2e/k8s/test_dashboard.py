"""The dashboard in the cluster: an account with rights logs in and sees its queue; one without is refused."""

import http.cookiejar
import re
import urllib.error
import urllib.parse
import urllib.request

import pytest

from e2e.dashboard.failures import fail
from e2e.harness import kube
from e2e.harness.manifests import manual
from e2e.harness.process import Process, free_port
from e2e.harness.waiting import until

pytestmark = pytest.mark.alone
SERVICE = "jobqueue-operator-dashboard"


class Browser:
    """Keeps its cookies, and follows what it is led to."""

    def __init__(self, base, token=None):
        self.base = base
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        self.opener.addheaders = [("Authorization", f"Bearer {token}")] if token else []

    def __call__(self, path, form=None):
        data = urllib.parse.urlencode(form).encode() if form is not None else None
        request = urllib.request.Request(self.base + path, data, {"Origin": self.base} if data is not None else {})
        try:
            with self.opener.open(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()


@pytest.fixture
def dashboard(changed_release, namespace, tmp_path):
    """Installed, and forwarded as the documentation says; the address."""
    changed_release.install(
        "dashboard.enabled=true", "dashboard.allowActions=true", f"dashboard.redis.namespaces={{{namespace.name}}}"
    )
    port = free_port()
    forward = Process(
        ["kubectl", "port-forward", "-n", changed_release.namespace, f"service/{SERVICE}", f"{port}:80"],
        tmp_path / "forward.log",
    )
    base = f"http://localhost:{port}"

    def healthy():
        try:
            with urllib.request.urlopen(f"{base}/healthz", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    until(healthy, lambda: f"the dashboard answers\n{forward.output()}", 60)
    yield base
    forward.stop()


def token(namespace, account, role=None):
    """Of a new service account that has a role of the cluster in the namespace."""
    namespace.kubectl("create", "serviceaccount", account)
    if role:
        subject = f"--serviceaccount={namespace.name}:{account}"
        namespace.kubectl("create", "rolebinding", account, f"--clusterrole={role}", subject)
    return namespace.kubectl("create", "token", account).strip()


def test_accounts_see_and_change_what_they_may(dashboard, cluster, namespace, warehouse, redis):
    namespace.apply(manual(0))
    namespace.reaches("QueueReachable", "True", "Reachable")
    name, [queue, *_] = f"{namespace.name}/companies", namespace.queue()["spec"]["queue"]["names"]
    fail(redis, queue, [(f"late-{n}", '{"No": 1}', "founded_date: 'x' is not a date", 60) for n in range(3)])
    page, failed = f"/q/{name}", f"/q/{name}/failed"

    stranger = Browser(dashboard)
    status, text = stranger("/")
    assert "log in" in text and name not in text, text
    assert stranger("/login", {"token": "wrong"})[0] == 401
    status, text = stranger("/login", {"token": token(namespace, "stranger")})
    assert status == 200 and "0 queues" in text and name not in text, text
    status, text = stranger(page)
    assert status == 403 and "lacks the right to get jobqueues" in text, text

    # A session ends with a logout; a program shows its token each time.
    viewer = Browser(dashboard)
    status, text = viewer("/login", {"token": (shown := token(namespace, "viewer", "view"))})
    assert status == 200 and name in text and f"system:serviceaccount:{namespace.name}:viewer" in text, text
    assert viewer(page)[0] == 200
    status, text = viewer(failed)
    assert status == 403 and "lacks the right to get secrets" in text, text
    viewer("/logout", {})
    assert name not in viewer("/")[1]
    assert name in Browser(dashboard, shown)("/")[1]

    editor = Browser(dashboard)
    editor("/login", {"token": token(namespace, "editor", "edit")})
    text = until(lambda: "3 jobs of 1 cause" in (found := editor(failed)[1]) and found, "the failed jobs are counted")
    status, text = editor(f"{failed}/confirm?action=purge&scope=all")
    assert status == 200 and "Purge 3 jobs?" in text, text
    action = re.search(r'method="post" action="(/plans/[^"]*)"', text)[1]
    form = re.search(r'name="form_token" value="([^"]*)"', text)[1]
    assert Browser(dashboard, shown)(action, {"form_token": form})[0] == 403
    assert redis.zcard(f"rq:failed:{queue}") == 3
    status, text = editor(action, {"form_token": form})
    assert status == 200 and "3 jobs removed" in text, text
    assert redis.zcard(f"rq:failed:{queue}") == 0

    # A token that is revoked ends its session within the time that answers are kept.
    namespace.kubectl("delete", "serviceaccount", "editor")
    until(lambda: "log in" in editor("/")[1], "the session is over", 60)


def test_it_may_not_read_secrets_elsewhere(dashboard, cluster, namespace, changed_release):
    account = f"--as=system:serviceaccount:{changed_release.namespace}:{SERVICE}"

    def may(verb, resource, space):
        try:
            return cluster.kubectl("auth", "can-i", verb, resource, account, namespace=space).strip() == "yes"
        except kube.Failed:
            return False

    assert may("get", "secrets", namespace.name) and not may("list", "secrets", namespace.name)
    assert not may("get", "secrets", "default") and not may("get", "secrets", changed_release.namespace)
    assert may("list", "jobqueues", "default") and not may("update", "jobqueues", namespace.name)
