"""How long it takes from a job to its first claim, beside a pod that does nothing."""

import os
import time

import pytest

from e2e.harness import backlog, companies
from e2e.harness.companies import Expected
from e2e.harness.kube import replicas
from e2e.harness.manifests import companies as manifest
from e2e.harness.waiting import until

NOTHING = os.environ.get(
    "E2E_PAUSE_IMAGE", "docker.io/local/pause:1" if os.environ.get("E2E_CLUSTER") else "registry.k8s.io/pause:3.10"
)
ROUNDS = 3


def nothing(namespace):
    """A Deployment like the workers', but with nothing in it and no probe: what the cluster itself takes."""
    namespace.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "nothing"},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": "nothing"}},
                "template": {
                    "metadata": {"labels": {"app": "nothing"}},
                    "spec": {
                        "automountServiceAccountToken": False,
                        "terminationGracePeriodSeconds": 1,
                        "securityContext": {
                            "runAsNonRoot": True,
                            "runAsUser": 65532,
                            "seccompProfile": {"type": "RuntimeDefault"},
                        },
                        "containers": [
                            {
                                "name": "nothing",
                                "image": NOTHING,
                                "imagePullPolicy": "IfNotPresent",
                                "securityContext": {
                                    "allowPrivilegeEscalation": False,
                                    "capabilities": {"drop": ["ALL"]},
                                },
                            }
                        ],
                    },
                },
            },
        }
    )


def ready(namespace, selector):
    pods = namespace.cluster.get("pods", namespace=namespace.name, selector=selector)
    return [
        pod
        for pod in pods
        if any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))
    ]


def scaled_to_one(namespace, name):
    return replicas(namespace.cluster.get("deployments", name, namespace.name)) == 1


@pytest.mark.alone
def test_from_patch_to_the_first_claimed_job(namespace, operator, warehouse, redis, database, producer, measure):
    nothing(namespace)
    namespace.apply(manifest(scaling={"maxReplicas": 1, "idleSeconds": 0, "scaleDown": {"stabilizationSeconds": 0}}))
    namespace.reaches("Ready", "True", "Idle")
    lines = companies.make(ROUNDS, seed=71)
    patched, claimed, written, idle = [], [], [], []
    for number, line in enumerate(lines):
        pushed = time.monotonic()
        producer.enqueue([line], first=number)
        until(lambda: scaled_to_one(namespace, "companies-worker"), "the patch", 10, 0.01)
        at_patch = time.monotonic()
        until(lambda: not redis.llen("rq:queue:companies"), "the first job is claimed", 60, 0.005)
        at_claim = time.monotonic()
        until(lambda number=number: backlog.read(redis).finished == number + 1, "the job is done", 30, 0.005)
        patched.append(at_patch - pushed)
        claimed.append(at_claim - at_patch)
        written.append(time.monotonic() - pushed)
        namespace.scales(0, within=30)
        # One on its way out might still take the next job.
        until(
            lambda: not namespace.cluster.get("pods", namespace=namespace.name, selector="jobqueue.dev/queue"),
            "no pod is left",
            60,
            0.1,
        )

        began = time.monotonic()
        namespace.kubectl("scale", "deployment/nothing", "--replicas=1")
        until(lambda: ready(namespace, "app=nothing"), "the pod that does nothing", 60, 0.02)
        idle.append(time.monotonic() - began)
        namespace.kubectl("scale", "deployment/nothing", "--replicas=0")
    assert database.counts()[0] == Expected(lines).companies
    median = ROUNDS // 2
    measure(
        push_to_patch=sorted(patched)[median],
        patch_to_first_claim=sorted(claimed)[median],
        push_to_row=sorted(written)[median],
        do_nothing_pod_ready=sorted(idle)[median],
    )
    assert sorted(patched)[median] < 2
    assert sorted(claimed)[median] < 2 * sorted(idle)[median] + 2, (claimed, idle)
