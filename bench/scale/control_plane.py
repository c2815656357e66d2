"""A Kubernetes control plane without nodes: etcd, API server, controllers, scheduler, and kwok for the pods.

The programs are those that `e2e/cluster/cluster build` made, and kwok from its Go module; all ports are free ones, so
that it disturbs no other cluster. Pods are scheduled and become ready, but nothing runs in them.
"""

import concurrent.futures
import http.client
import json
import os
import secrets
import ssl
import subprocess
import threading
import time
from pathlib import Path

import yaml

from e2e.harness import ROOT
from e2e.harness.process import Process, free_port
from e2e.harness.waiting import until

KWOK = "sigs.k8s.io/kwok/cmd/kwok@v0.8.0"
PATIENCE = 60


def programs():
    """Where Kubernetes' programs are, and kwok, built when missing."""
    place = Path(subprocess.check_output([ROOT / "e2e/cluster/cluster", "programs"], text=True).strip())
    if not (place / "kube-apiserver").exists():
        subprocess.run([ROOT / "e2e/cluster/cluster", "build"], check=True)
    if not (place / "kwok").exists():
        subprocess.run(
            ["go", "install", "-trimpath", "-ldflags=-s -w", KWOK],
            check=True,
            env={**os.environ, "GOBIN": str(place), "CGO_ENABLED": "0"},
        )
    return place


class ControlPlane:
    """Started by its constructor; `stop` ends all of it."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True)
        self.programs = programs()
        self.port, self.token = free_port(), secrets.token_hex()
        self.processes = {}
        self._credentials()
        self._etcd_and_server()
        self.local = threading.local()
        until(self._ready, lambda: f"the API server is ready\n{self.processes['apiserver'].output()}", PATIENCE, 0.2)
        self.kubeconfig = self.config_of("admin", self.token)
        self._controllers()

    def _start(self, name, program, *arguments):
        self.processes[name] = Process(
            [self.programs / program, *arguments], self.directory / f"{name}.log", cwd=self.directory
        )

    def _credentials(self):
        openssl = ["openssl", "genrsa", "-out", "sa.key", "2048"]
        subprocess.run(openssl, cwd=self.directory, check=True, capture_output=True)
        (self.directory / "tokens.csv").write_text(f'{self.token},admin,admin,"system:masters"\n', encoding="ascii")

    def _etcd_and_server(self):
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._start(
            "etcd",
            "etcd",
            "--data-dir=etcd",
            "--unsafe-no-fsync",
            "--logger=zap",
            "--log-level=warn",
            "--quota-backend-bytes=8000000000",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        )
        self._start(
            "apiserver",
            "kube-apiserver",
            f"--etcd-servers={client}",
            "--bind-address=127.0.0.1",
            # Else it asks the machine for a default route, which it may not have.
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            "--service-cluster-ip-range=10.97.0.0/16",
            "--cert-dir=certificates",
            "--token-auth-file=tokens.csv",
            "--authorization-mode=RBAC",
            "--service-account-key-file=sa.key",
            "--service-account-signing-key-file=sa.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--endpoint-reconciler-type=none",
        )

    def _controllers(self):
        config = f"--kubeconfig={self.kubeconfig}"
        fast = ("--kube-api-qps=1000", "--kube-api-burst=2000")
        self._start(
            "controllers",
            "kube-controller-manager",
            config,
            "--leader-elect=false",
            "--service-account-private-key-file=sa.key",
            "--concurrent-deployment-syncs=20",
            "--concurrent-replicaset-syncs=20",
            "--secure-port=0",
            *fast,
            # kwok's node does not fail, however late its heartbeat is on a machine that has other things to do.
            "--node-monitor-grace-period=1h",
        )
        self._start("scheduler", "kube-scheduler", config, "--leader-elect=false", "--secure-port=0", *fast)
        self._start(
            "kwok", "kwok", config, f"--config={Path(__file__).with_name('kwok.yaml')}", "--manage-all-nodes=true"
        )
        ready = {"cpu": "10000", "memory": "10000Gi", "pods": "100000"}
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "fake", "annotations": {"kwok.x-k8s.io/node": "fake"}},
            "status": {"capacity": ready, "allocatable": ready},
        }
        self.post("api/v1/nodes", node)
        until(
            lambda: any(
                each["type"] == "Ready" and each["status"] == "True"
                for each in self.get("api/v1/nodes/fake")["status"].get("conditions", [])
            ),
            lambda: f"kwok's node is ready\n{self.processes['kwok'].output()}",
            PATIENCE,
            0.2,
        )

    def _ready(self):
        try:
            return self.request("GET", "readyz")[0] == 200
        except OSError:
            return False

    def config_of(self, name, token):
        """Writes a kubeconfig; its path."""
        path = self.directory / f"{name}.kubeconfig"
        authority = str(self.directory / "certificates" / "apiserver.crt")
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "this",
                    "users": [{"name": name, "user": {"token": token}}],
                    "clusters": [
                        {
                            "name": "this",
                            "cluster": {
                                "server": f"https://127.0.0.1:{self.port}",
                                "tls-server-name": "kubernetes",
                                "certificate-authority": authority,
                            },
                        }
                    ],
                    "contexts": [{"name": "this", "context": {"cluster": "this", "user": name}}],
                }
            ),
            encoding="utf-8",
        )
        path.chmod(0o600)
        return path

    def kubectl(self, *arguments, stdin=None):
        return subprocess.run(
            [self.programs / "kubectl", f"--kubeconfig={self.kubeconfig}", *arguments],
            input=stdin,
            check=True,
            text=True,
            stdout=subprocess.PIPE,
        ).stdout

    # The API without a process for each call: thousands of objects.

    def connect(self):
        # The server has made its certificate itself.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=600)

    def request(self, method, path, body=None, kind="application/json"):
        try:
            return self._request(method, path, body, kind)
        except http.client.RemoteDisconnected:
            # A connection that nobody used for a while was closed meanwhile.
            return self._request(method, path, body, kind)

    def _request(self, method, path, body, kind):
        if not hasattr(self.local, "connection"):
            self.local.connection = self.connect()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        try:
            self.local.connection.request(
                method, f"/{path}", body=None if body is None else json.dumps(body), headers=headers
            )
            answer = self.local.connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self.local.connection.close()
            del self.local.connection
            raise

    def get(self, path):
        status, body = self.request("GET", path)
        assert status == 200, f"GET {path}: {status} {body[:500]}"
        return json.loads(body)

    def post(self, path, body):
        status, answer = self.request("POST", path, body)
        assert status in (200, 201), f"POST {path}: {status} {answer[:500]}"
        return json.loads(answer)

    def post_all(self, requests, threads=8):
        """POSTs many, several at once."""
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            for outcome in pool.map(lambda each: self.post(*each), requests):
                assert outcome

    def metrics(self):
        """The API server's own metrics: (name, labels as text) to value."""
        status, body = self.request("GET", "metrics")
        assert status == 200
        return parse_metrics(body.decode())

    def stop(self):
        for name in ("kwok", "scheduler", "controllers", "apiserver", "etcd"):
            if name in self.processes:
                self.processes[name].stop(10)


def parse_metrics(text):
    """Prometheus' text format, as far as a benchmark needs it."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            found[series] = float(value)
    return found


class Watch(threading.Thread):
    """Follows all objects of a kind and tells `see(object, seconds)` of each version."""

    def __init__(self, plane, path, see):
        super().__init__(daemon=True)
        self.plane, self.path, self.see = plane, path, see
        self.over = False
        self.start()

    def run(self):
        version = ""
        while not self.over:
            connection = self.plane.connect()
            try:
                where = f"/{self.path}?watch=1&allowWatchBookmarks=true" + (
                    f"&resourceVersion={version}" if version else ""
                )
                connection.request("GET", where, headers={"Authorization": f"Bearer {self.plane.token}"})
                for line in connection.getresponse():
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        version = ""
                        break
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] in ("ADDED", "MODIFIED"):
                        self.see(event["object"], time.perf_counter())
                    if self.over:
                        return
            except (OSError, ValueError, http.client.HTTPException):
                if self.over:
                    return
            finally:
                connection.close()
