"""An API server with two JobQueues. It knows the tokens of two accounts: one may see a namespace, one sees nothing."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN, STRANGER = "token-of-ann", "token-of-eve"
GROUP = "apis/jobqueue.dev/v1alpha1"


def queue(namespace, name):
    return {
        "apiVersion": "jobqueue.dev/v1alpha1",
        "kind": "JobQueue",
        "metadata": {"name": name, "namespace": namespace, "resourceVersion": "1"},
        "spec": {"queue": {"names": [name], "redis": {"urlSecretKeyRef": {"name": "redis", "key": "url"}}}},
        "status": {
            "readyReplicas": 2,
            "desiredReplicas": 2,
            "queue": {"waiting": 40, "running": 2, "arrivalsPerSecond": 1.5, "completionsPerSecond": 1.4},
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "Working",
                    "message": "Workers are at work",
                    "lastTransitionTime": "2026-03-01T12:00:00Z",
                }
            ],
        },
    }


def log_in(page, token):
    """As a person does, on the page of a dashboard that asks for a token."""
    page.get_by_label("Token of this cluster").fill(token)
    page.keyboard.press("Enter")


QUEUES = [queue("shop", "orders"), queue("mail", "letters")]


def review(sent):
    """What is said of a token, or of a right."""
    spec = sent["spec"]
    if sent["kind"] == "TokenReview":
        account = {TOKEN: "ann", STRANGER: "eve"}.get(spec["token"])
        return {"authenticated": bool(account), "user": {"username": account}}
    return {"allowed": spec["user"] == "ann" and spec["resourceAttributes"].get("namespace") == "shop"}


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer({**sent, "metadata": {}, "status": review(sent)}, 201)

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if "watch=" in query:
            # Nothing changes until the server ends.
            self.send_response(200)
            self.end_headers()
            self.server.ends.wait()
            return
        if path == f"/{GROUP}/jobqueues":
            version = {"resourceVersion": "1"}
            self.answer({"apiVersion": "v1", "kind": "JobQueueList", "metadata": version, "items": QUEUES})
            return
        for each in QUEUES:
            named = each["metadata"]
            if path == f"/{GROUP}/namespaces/{named['namespace']}/jobqueues/{named['name']}":
                self.answer(each)
                return
        self.answer({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": path}, 404)


class ApiServer:
    """Serves until it is stopped; `kubeconfig` is a file that leads to it."""

    def __init__(self, directory):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.ends = threading.Event()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{self.server.server_port}"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": address}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        self.kubeconfig = directory / "kubeconfig"
        self.kubeconfig.write_text(json.dumps(config), encoding="utf-8")

    def stop(self):
        self.server.ends.set()
        self.server.shutdown()
        self.server.server_close()
