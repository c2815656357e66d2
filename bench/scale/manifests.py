"""What is made before the measurement: the operator's account and rights, namespaces, Secrets and JobQueues."""

from e2e.harness import ROOT

GROUP = "apis/jobqueue.dev/v1alpha1"
SYSTEM = "jobqueue-system"
ACCOUNT = "jobqueue-operator"
PER_NAMESPACE = 100


def queue(number, namespace):
    """Every second queue has a recipe."""
    spec = {
        "queue": {"names": [f"q{number}"], "redis": {"urlSecretKeyRef": {"name": "warehouse", "key": "redis"}}},
        "scaling": {
            "maxReplicas": 4,
            "targets": {"jobsPerWorker": 100},
            "idleSeconds": 5,
            "scaleDown": {"stabilizationSeconds": 0},
        },
        "worker": {"image": "example.org/worker:1"},
    }
    if number % 2:
        spec["database"] = {"urlSecretKeyRef": {"name": "warehouse", "key": "database"}}
        columns = {"name": "record.Company.Name", "reg_num": "record.Company.No", "created_time": "now()"}
        spec["ingest"] = [{"record": "job.args[0]", "tables": [{"table": "company", "columns": columns}]}]
    return {
        "apiVersion": "jobqueue.dev/v1alpha1",
        "kind": "JobQueue",
        "metadata": {"name": f"q{number}", "namespace": namespace},
        "spec": spec,
    }


def install(plane):
    """CRD, account and rights of `install.yaml`, and a flow schema that counts the operator's requests."""
    plane.kubectl("apply", "--server-side", "-f", str(ROOT / "install.yaml"))
    plane.kubectl("scale", "deployment", ACCOUNT, "-n", SYSTEM, "--replicas=0")
    subject = {"kind": "ServiceAccount", "serviceAccount": {"name": ACCOUNT, "namespace": SYSTEM}}
    rule = {
        "subjects": [subject],
        "resourceRules": [
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
        ],
    }
    plane.post(
        "apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
        {
            "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
            "kind": "FlowSchema",
            "metadata": {"name": "the-operator"},
            # Where requests of service accounts go in any case.
            "spec": {
                "priorityLevelConfiguration": {"name": "workload-low"},
                "matchingPrecedence": 500,
                "distinguisherMethod": {"type": "ByUser"},
                "rules": [rule],
            },
        },
    )
    plane.kubectl("wait", "crd/jobqueues.jobqueue.dev", "--for=condition=Established", "--timeout=60s")
    token = plane.kubectl("create", "token", ACCOUNT, "-n", SYSTEM, "--duration=24h").strip()
    return plane.config_of("operator", token)


def fill(plane, size, redis_server):
    """The namespaces, their Secrets, the queues."""
    namespaces = [f"team-{number}" for number in range(-(-size // PER_NAMESPACE))]
    plane.post_all([("api/v1/namespaces", {"metadata": {"name": name}}) for name in namespaces])
    secret = {
        "metadata": {"name": "warehouse"},
        "stringData": {"redis": redis_server.url, "database": "postgres://app:secret@database/warehouse"},
    }
    plane.post_all([(f"api/v1/namespaces/{name}/secrets", secret) for name in namespaces])
    where = [namespaces[number // PER_NAMESPACE] for number in range(size)]
    plane.post_all(
        [(f"{GROUP}/namespaces/{where[number]}/jobqueues", queue(number, where[number])) for number in range(size)]
    )


def bare(number):
    """A Deployment of no pods, with no more in it than it must have."""
    labels = {"app": f"q{number}"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "worker", "image": "example.org/worker:1"}]},
    }
    return {
        "metadata": {"name": f"q{number}"},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }
