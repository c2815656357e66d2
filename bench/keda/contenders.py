"""Who is compared: the same pods, asked for by a JobQueue or by KEDA's ScaledObject with a Deployment."""

from dataclasses import dataclass

GRACE_BEYOND_DRAIN = 5  # what the operator adds to `drainSeconds`
TUNED = {"pollingInterval": 1, "cooldownPeriod": 5}
# Python that starts hears a SIGTERM as any process does but process 1.
POD = {"shareProcessNamespace": True}
RESOURCES = {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "512Mi"}}


@dataclass(frozen=True)
class Work:
    """What is served, and by which pods: an RQ queue where they have a command, a Redis list where they have none."""

    image: str
    most: int
    per_worker: int
    grace: int
    command: tuple = ()

    def container(self, name, url):
        command = {"command": [part.format(queue=name, url=url) for part in self.command]} if self.command else {}
        return {"name": "worker", "resources": RESOURCES, **command}

    def list_name(self, name):
        return f"rq:queue:{name}" if self.command else name


def rq_work(image, **numbers):
    # rq misses a SIGTERM that comes while it writes a line to its log.
    return Work(
        image=image, command=("rq", "worker", "--quiet", "--url", "{url}", "--path", "/app", "{queue}"), **numbers
    )


def like_keda(work, down=None):
    """KEDA's rule, without a step and without stabilization, as soon to zero as KEDA's `cooldownPeriod: 5`."""
    return {
        "targets": {"jobsPerWorker": work.per_worker},
        "idleSeconds": 5,
        "scaleDown": {"stabilizationSeconds": 0, **(down or {})},
    }


def job_queue(name, url, work, scaling):
    template = {"metadata": {"labels": {"bench": name}}, "spec": {**POD, "containers": [work.container(name, url)]}}
    return [
        {
            "apiVersion": "jobqueue.dev/v1alpha1",
            "kind": "JobQueue",
            "metadata": {"name": name},
            "spec": {
                "queue": {"protocol": "RQ" if work.command else "List", "names": [name], "redis": {"url": url}},
                "scaling": {"maxReplicas": work.most, **scaling},
                "worker": {"image": work.image, "drainSeconds": work.grace - GRACE_BEYOND_DRAIN, "template": template},
            },
        }
    ]


def keda(name, url, work, **settings):
    container = work.container(name, url) | {
        "image": work.image,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    pod = {
        **POD,
        "terminationGracePeriodSeconds": work.grace,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [container],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"{name}-worker"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"bench": name}},
            "template": {"metadata": {"labels": {"bench": name}}, "spec": pod},
        },
    }
    address = url.removeprefix("redis://").partition("/")[0]
    trigger = {
        "type": "redis",
        "metadata": {"address": address, "listName": work.list_name(name), "listLength": str(work.per_worker)},
    }
    scaled = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"name": f"{name}-worker"},
            "minReplicaCount": 0,
            "maxReplicaCount": work.most,
            "triggers": [trigger],
            **settings,
        },
    }
    return [deployment, scaled]
