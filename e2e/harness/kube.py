"""A cluster as its users see it: kubectl and helm as subprocesses, and cheap requests through one `kubectl proxy`.

Whatever a test changes goes through kubectl, as a person would do it. Waiting asks often, so it reads through the
proxy: no process for each look. So does what every test needs before it begins and after it has ended.
"""

import base64
import json
import os
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request

import yaml

from .addresses import facing
from .process import Process, free_port
from .waiting import until

GROUP = "apis/jobqueue.dev/v1alpha1"
KINDS = {
    "jobqueues": GROUP,
    "deployments": "apis/apps/v1",
    "replicasets": "apis/apps/v1",
    "pods": "api/v1",
    "configmaps": "api/v1",
    "secrets": "api/v1",
    "events": "api/v1",
    "serviceaccounts": "api/v1",
    "poddisruptionbudgets": "apis/policy/v1",
    "leases": "apis/coordination.k8s.io/v1",
    "networkpolicies": "apis/networking.k8s.io/v1",
}


class Failed(AssertionError):
    """A command that ended with an error; what it said is in `stderr`."""

    def __init__(self, command, code, stdout, stderr):
        self.code, self.stdout, self.stderr = code, stdout, stderr
        super().__init__(f"{' '.join(command)}\nended with {code}\n{stdout[-4000:]}{stderr[-4000:]}")


def run(command, stdin=None, seconds=120, env=None):
    """The standard output of a command; `Failed` where it fails."""
    command = [str(part) for part in command]
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env={**os.environ, **(env or {})},
    )
    if done.returncode:
        raise Failed(command, done.returncode, done.stdout, done.stderr)
    return done.stdout


class Cluster:
    """The cluster that KUBECONFIG names."""

    def __init__(self, directory):
        assert shutil.which("kubectl"), "kubectl is not on the PATH"
        self.port = free_port()
        self.proxy = Process(["kubectl", "proxy", f"--port={self.port}"], f"{directory}/kubectl-proxy.log")
        until(self.answers, lambda: f"the API server answers\n{self.proxy.output()}", seconds=60)

    def kubectl(self, *arguments, stdin=None, seconds=120, namespace=None):
        where = ["-n", namespace] if namespace else []
        # It ends before its garbage is worth collecting.
        return run(["kubectl", *where, *arguments], stdin, seconds, {"GOGC": "off"})

    def apply(self, *objects, namespace=None, server_side=False, force=False):
        """`kubectl apply` of objects (dicts) or of text."""
        text = "\n---\n".join(
            each if isinstance(each, str) else yaml.safe_dump(each, allow_unicode=True) for each in objects
        )
        how = [*(["--server-side"] if server_side else []), *(["--force-conflicts"] if force else [])]
        return self.kubectl("apply", *how, "-f", "-", stdin=text, namespace=namespace)

    def raw(self, path, seconds=10, method="GET", body=None, kind="application/json"):
        """What the API answers to a request; None where there is nothing."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/{path}", data, {"Content-Type": kind}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def put(self, path, body):
        """Makes the object at `path`, or changes what `body` says of it (server-side apply)."""
        return self.raw(f"{path}?fieldManager=e2e&force=true", 30, "PATCH", body, "application/apply-patch+yaml")

    def answers(self):
        try:
            return self.raw("version", seconds=2) is not None
        except (OSError, ValueError):
            return False

    def get(self, plural, name=None, namespace=None, selector=None):
        """One object or None; without a name, the list's items."""
        where = f"namespaces/{namespace}/" if namespace else ""
        path = f"{KINDS[plural]}/{where}{plural}"
        if name:
            return self.raw(f"{path}/{name}")
        listed = self.raw(f"{path}?labelSelector={selector}" if selector else path)
        return listed["items"] if listed else []

    def watch(self, plural, namespace, name=None):
        """Of one object, or without a name of all in the namespace."""
        which = f"&fieldSelector=metadata.name={name}" if name else ""
        return Watch(self, f"{KINDS[plural]}/namespaces/{namespace}/{plural}?watch=1{which}")

    def host_ip(self):
        """An address of this machine that pods reach: E2E_HOST_IP, or the one that faces the node."""
        if os.environ.get("E2E_HOST_IP"):
            return os.environ["E2E_HOST_IP"]
        addresses = self.raw("api/v1/nodes")["items"][0]["status"]["addresses"]
        return facing(next(address["address"] for address in addresses if address["type"] == "InternalIP"))

    def stop(self):
        self.proxy.stop()


class Watch:
    """Every version that the API server sends, from now until `close`; survives a lost connection.

    `when` has the monotonic moment at which each of `seen` came.
    """

    def __init__(self, cluster, path):
        self.cluster, self.path, self.seen, self.when, self.gone = cluster, path, [], [], False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self):
        versions = set()  # a new connection begins with what the last one ended with
        while not self._closed.is_set():
            try:
                url = f"http://127.0.0.1:{self.cluster.port}/{self.path}"
                with urllib.request.urlopen(url, timeout=5) as stream:
                    for line in stream:
                        if self._closed.is_set():
                            return
                        event = json.loads(line)
                        version = event["object"]["metadata"]["resourceVersion"]
                        if event["type"] in ("ADDED", "MODIFIED") and version not in versions:
                            self.when.append(time.monotonic())
                            self.seen.append(event["object"])
                            versions.add(version)
                        self.gone = event["type"] == "DELETED"
            except (OSError, ValueError):
                self._closed.wait(0.2)  # the API server is away, or nothing happened for a while: look again

    def values(self, select):
        """`select(object)` of every version, without repetitions."""
        values = []
        for each in self.seen:
            value = select(each)
            if not values or values[-1] != value:
                values.append(value)
        return values

    def close(self):
        self._closed.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def replicas(deployment):
    return deployment["spec"].get("replicas", 1)


def conditions(queue):
    """Type to condition of a JobQueue (or None)."""
    return {each["type"]: each for each in ((queue or {}).get("status") or {}).get("conditions", [])}


class Namespace:
    """One test's namespace: restricted Pod Security, and the words for what the tests wait for."""

    def __init__(self, cluster, name, labels=None):
        self.cluster, self.name = cluster, name
        self.labels = {"jobqueue.dev/e2e": "true", "pod-security.kubernetes.io/enforce": "restricted", **(labels or {})}
        cluster.put(
            f"api/v1/namespaces/{name}",
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": self.labels}},
        )

    def kubectl(self, *arguments, **settings):
        return self.cluster.kubectl(*arguments, namespace=self.name, **settings)

    def apply(self, *objects):
        return self.cluster.apply(*objects, namespace=self.name)

    def secret(self, name, **values):
        """Makes the Secret or changes its keys; those that are not named stay."""
        kept = (self.cluster.get("secrets", name, self.name) or {}).get("data", {})
        data = {**kept, **{key: base64.b64encode(value.encode()).decode() for key, value in values.items()}}
        self.cluster.put(
            f"api/v1/namespaces/{self.name}/secrets/{name}",
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data},
        )

    def queue(self, name="companies"):
        return self.cluster.get("jobqueues", name, self.name)

    def deployment(self, name="companies"):
        return self.cluster.get("deployments", f"{name}-worker", self.name)

    def pods(self, name="companies"):
        """Worker pods that are not on their way out."""
        pods = self.cluster.get("pods", namespace=self.name, selector=f"jobqueue.dev/queue={name}")
        return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]

    def ready_pods(self, name="companies"):
        return [
            pod
            for pod in self.pods(name)
            if any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))
        ]

    def patch(self, patch, name="companies", subresource=None):
        which = [f"--subresource={subresource}"] if subresource else []
        return self.kubectl("patch", "jobqueue", name, "--type=merge", *which, "-p", json.dumps(patch))

    def reaches(self, kind, status, reason=None, name="companies", within=15.0):
        """Waits until the condition has that status (and that reason); returns it."""

        def poll():
            found = conditions(self.queue(name)).get(kind)
            return found if found and found["status"] == status and reason in (None, found["reason"]) else None

        return until(
            poll,
            lambda: f"{kind}={status} ({reason or 'any reason'}) on {name}; it says\n{self.conditions_text(name)}",
            within,
            0.1,
        )

    def conditions_text(self, name="companies"):
        queue = self.queue(name)
        return "\n".join(
            f"  {each['type']}={each['status']} {each['reason']}: {each['message']}"
            for each in conditions(queue).values()
        )

    def scales(self, number, name="companies", within=15.0):
        """Waits until the Deployment asks for `number` (a number, or a test of one)."""
        test = number if callable(number) else number.__eq__

        def poll():
            deployment = self.deployment(name)
            return deployment if deployment and test(replicas(deployment)) is True else None

        def problem():
            deployment = self.deployment(name)
            return f"{name}: replicas as wanted; {deployment and replicas(deployment)}\n{self.conditions_text(name)}"

        return replicas(until(poll, problem, within, 0.05))

    def runs(self, number, name="companies", within=60.0):
        """Waits until exactly `number` pods are there and ready."""
        until(
            lambda: len(self.ready_pods(name)) == number == len(self.pods(name)),
            lambda: f"{number} pods of {name} are ready\n{self.conditions_text(name)}\n{self.kubectl('get', 'pods')}",
            within,
            0.1,
        )
        return self.ready_pods(name)

    def events(self, name="companies"):
        """The queue's events, by its uid: those of its name only are none that `kubectl describe` shows."""
        uid = self.queue(name)["metadata"]["uid"]
        found = self.cluster.get("events", namespace=self.name)
        return [each for each in found if each["involvedObject"].get("uid") == uid]

    def diagnosis(self):
        """What a person would look at first; goes into the report of a test that failed."""
        parts = []
        for command in (
            ["get", "jobqueues,deployments,pods", "-o", "wide"],
            ["describe", "jobqueues"],
            ["get", "events", "--sort-by=.lastTimestamp"],
            [
                "logs",
                "-l",
                "app.kubernetes.io/managed-by=jobqueue-operator",
                "--tail=40",
                "--prefix",
                "--all-containers",
            ],
        ):
            try:
                parts.append(f"$ kubectl {' '.join(command)}\n{self.kubectl(*command, seconds=30)}")
            except (Failed, subprocess.TimeoutExpired) as error:
                parts.append(str(error))
        return "\n".join(parts)

    def clear(self):
        """Its queues go, and their pods with them; nobody waits for that."""
        self.cluster.raw(f"{GROUP}/namespaces/{self.name}/jobqueues", method="DELETE")

    def remove(self):
        """Without waiting for its end; pods are told to go at once."""
        self.clear()
        self.cluster.raw(f"api/v1/namespaces/{self.name}", method="DELETE")
