"""A pod with Python that listens at ports, and tries which ports of others it can reach."""

import json
import sys
from pathlib import Path

# Each address and port that answers, of those it is given, all at the same time.
TRY = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def answers(place):
    try:
        with socket.create_connection(place, float(sys.argv[2])):
            return True
    except OSError:
        return False
places = [tuple(each) for each in json.loads(sys.argv[1])]
with ThreadPoolExecutor(len(places)) as pool:
    print(json.dumps(list(pool.map(answers, places))))
"""
LISTEN = """
import json, selectors, signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
ready = selectors.DefaultSelector()
for port in json.loads(sys.argv[1]):
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    ready.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in ready.select():
        key.fileobj.accept()[0].close()
"""


class Client:
    """`ports` are those it listens at; by name, where they shall have one."""

    def __init__(self, namespace, image, name, labels=None, ports=None):
        self.namespace, self.name, self.ports = namespace, name, ports or {}
        self.python = str(Path(sys.executable).resolve())
        container = {
            "name": "python",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": [self.python, "-c", LISTEN, json.dumps(list(self.ports.values()))],
            "ports": [{"name": name, "containerPort": port} for name, port in self.ports.items()],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        spec = {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        }
        namespace.apply(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}}, "spec": spec}
        )

    def ready(self):
        self.namespace.kubectl("wait", f"pod/{self.name}", "--for=condition=Ready", "--timeout=60s")
        return self

    def addresses(self):
        """Of every family that the pod has."""
        return [
            each["ip"]
            for each in self.namespace.cluster.get("pods", self.name, self.namespace.name)["status"]["podIPs"]
        ]

    def reaches(self, *places, seconds=1):
        """Whether each of the (address, port) answers."""
        command = [self.python, "-c", TRY, json.dumps(places), str(seconds)]
        return json.loads(self.namespace.kubectl("exec", self.name, "--", *command))
