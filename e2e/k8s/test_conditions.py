"""Each fault of a queue shows as a condition with its reason, soon, and clears by itself after the repair."""

import pytest

from e2e.harness import companies
from e2e.harness.kube import conditions
from e2e.harness.manifests import companies as manifest
from e2e.harness.manifests import manual
from e2e.harness.producer import Producer
from e2e.harness.waiting import until

pytestmark = pytest.mark.usefixtures("operator")

SEEN = 15.0  # seconds until a fault shows, and until its repair does


def stalls(namespace, reason, *words):
    """Stalled with that reason; kstatus must read it right."""
    said = namespace.reaches("Stalled", "True", reason, within=SEEN)
    for word in words:
        assert word in said["message"], said["message"]
    states = conditions(namespace.queue())
    assert states["Ready"]["status"] == "False" and states["Ready"]["reason"] == reason, namespace.conditions_text()
    assert states["Reconciling"]["status"] == "False", namespace.conditions_text()
    return said


def recovers(namespace):
    namespace.reaches("Ready", "True", within=SEEN)
    namespace.reaches("Stalled", "False", "AsSpecified", within=1)


def test_all_conditions_are_there_from_the_first_visit(namespace, warehouse):
    namespace.apply(manifest())
    until(lambda: "observedGeneration" in namespace.queue()["status"], "a status", 10, 0.05)
    states = conditions(namespace.queue())
    assert list(states) == [
        "Ready",
        "Reconciling",
        "Stalled",
        "QueueReachable",
        "DatabaseReachable",
        "WorkersAvailable",
        "ScaledToTarget",
        "ScalingLimited",
        "Paused",
        "Degraded",
    ]
    namespace.kubectl("wait", "--for=condition=Ready", "jobqueue/companies", "--timeout=15s")
    queue = namespace.queue()
    assert queue["status"]["observedGeneration"] == queue["metadata"]["generation"]
    assert all(each["observedGeneration"] == queue["metadata"]["generation"] for each in conditions(queue).values())
    assert conditions(queue)["Stalled"]["status"] == "False"
    assert "phase" not in queue["status"]


def test_transition_times_move_with_the_status_only(namespace, warehouse):
    namespace.apply(manifest())
    before = namespace.reaches("Ready", "True", "Idle")
    namespace.patch({"spec": {"scaling": {"mode": "Paused"}}})
    after = namespace.reaches("Ready", "True", "ModePaused")
    assert after["lastTransitionTime"] == before["lastTransitionTime"]


def test_missing_secret(namespace, redis_server, database):
    namespace.apply(manifest())
    stalls(namespace, "SecretNotFound", "warehouse")
    namespace.secret("warehouse", redis=redis_server.url, database=database.remote_url)
    recovers(namespace)


def test_missing_key_of_a_secret(namespace, redis_server, database):
    namespace.secret("warehouse", redis=redis_server.url, other="x")
    namespace.apply(manifest())
    stalls(namespace, "SecretKeyNotFound", "warehouse", "database", "other")
    namespace.secret("warehouse", database=database.remote_url)
    recovers(namespace)


@pytest.mark.parametrize(
    "key, url",
    [
        ("redis", "http://:hidden@example"),
        ("database", "oracle://u:hidden@example/x"),
        ("redis", "redis://:hidden@169.254.169.254"),
    ],
)
def test_a_url_that_cannot_be_used(namespace, redis_server, database, key, url):
    good = {"redis": redis_server.url, "database": database.remote_url}
    namespace.secret("warehouse", **{**good, key: url})
    namespace.apply(manifest())
    said = stalls(namespace, "InvalidUrl")
    assert "hidden" not in said["message"], "no password in a condition"
    namespace.secret("warehouse", **good)
    recovers(namespace)


def test_image_that_cannot_be_pulled(namespace, warehouse):
    namespace.apply(manual(1, worker={"image": "registry.invalid/no/such:1"}))
    stalls(namespace, "ImagePullFailed", "registry.invalid/no/such:1")
    namespace.patch({"spec": {"worker": {"image": None}}})
    recovers(namespace)
    namespace.runs(1)


def test_pods_that_the_namespace_forbids(namespace, warehouse):
    forbidden = {
        "spec": {
            "containers": [
                {"name": "worker", "securityContext": {"privileged": True, "allowPrivilegeEscalation": True}}
            ]
        }
    }
    namespace.apply(manual(1, worker={"template": forbidden}))
    stalls(namespace, "WorkersForbidden", "privileged")
    namespace.patch({"spec": {"worker": {"template": None}}})
    recovers(namespace)


def test_a_quota(namespace, warehouse):
    namespace.apply(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    )
    until(lambda: "0/0" in namespace.kubectl("get", "resourcequota", "none"), "the quota is counted", 20, 0.2)
    namespace.apply(manual(1))
    stalls(namespace, "WorkersForbidden", "quota")
    namespace.kubectl("delete", "resourcequota", "none")


def test_a_template_that_is_none(namespace, warehouse):
    namespace.apply(
        manual(
            1,
            worker={
                "template": {
                    "spec": {"containers": [{"name": "worker", "resources": {"limits": {"memory": {"a": "b"}}}}]}
                }
            },
        )
    )
    stalls(namespace, "InvalidSpec", "template")
    namespace.patch({"spec": {"worker": {"template": None}}})
    recovers(namespace)


def test_a_command_that_crashes(namespace, warehouse):
    namespace.apply(
        manual(1, worker={"template": {"spec": {"containers": [{"name": "worker", "args": ["--no-such-flag"]}]}}})
    )
    stalls(namespace, "WorkersCrashing", "--no-such-flag")
    namespace.patch({"spec": {"worker": {"template": None}}})
    recovers(namespace)


@pytest.mark.takes(30)
def test_a_volume_that_cannot_be_mounted(namespace, warehouse):
    volume = {"name": "extra", "configMap": {"name": "not-there"}}
    mount = {"name": "worker", "volumeMounts": [{"name": "extra", "mountPath": "/extra"}]}
    namespace.apply(manual(1, worker={"template": {"spec": {"volumes": [volume], "containers": [mount]}}}))
    said = namespace.reaches("Degraded", "True", "MountFailed", within=60)
    assert "not-there" in said["message"], said
    namespace.reaches("WorkersAvailable", "False", "MountFailed")
    namespace.reaches("Stalled", "False", "AsSpecified")
    namespace.patch({"spec": {"worker": {"template": None}}})
    namespace.runs(1)
    namespace.reaches("Degraded", "False", "AsSpecified", within=SEEN)


def test_a_deployment_that_somebody_paused(namespace, warehouse):
    namespace.apply(manual(1))
    namespace.runs(1)
    namespace.kubectl("rollout", "pause", "deployment/companies-worker")
    namespace.patch({"spec": {"worker": {"batchSize": 7}}})
    namespace.reaches("Degraded", "True", "DeploymentPaused", within=30)
    namespace.kubectl("rollout", "resume", "deployment/companies-worker")
    namespace.reaches("Degraded", "False", "AsSpecified", within=60)


def test_no_node_takes_the_workers(namespace, warehouse):
    namespace.apply(manual(1, worker={"template": {"spec": {"nodeSelector": {"e2e": "nowhere"}}}}))
    namespace.reaches("Degraded", "True", "Unschedulable", within=SEEN)
    namespace.reaches("WorkersAvailable", "False", "Unschedulable", within=1)
    namespace.reaches("Stalled", "False", within=1)
    namespace.patch({"spec": {"worker": {"template": None}}})
    namespace.reaches("Degraded", "False", within=SEEN)
    namespace.reaches("WorkersAvailable", "True", within=SEEN)


def test_a_deployment_of_that_name_belongs_to_somebody_else(namespace, warehouse):
    namespace.kubectl("create", "deployment", "companies-worker", "--image=docker.io/local/pause:1", "--replicas=0")
    namespace.apply(manifest())
    stalls(namespace, "NameTaken", "companies-worker")
    assert not namespace.deployment()["metadata"].get("ownerReferences")
    namespace.kubectl("delete", "deployment", "companies-worker")
    recovers(namespace)


def test_redis_is_away(namespace, redis_server, database, warehouse, producer):
    namespace.apply(manual(1))
    namespace.runs(1)
    namespace.patch({"spec": {"scaling": {"mode": "Auto", "minReplicas": 0, "idleSeconds": 0}}})
    lines = companies.make(20, seed=9)
    producer.enqueue(lines)
    namespace.scales(lambda number: number > 0)
    redis_server.process.kill()
    namespace.reaches("QueueReachable", "False", "Unreachable", within=SEEN)
    held = namespace.deployment()["spec"]["replicas"]
    namespace.reaches("Ready", "False", "Unreachable", within=1)
    redis_server.start()
    namespace.reaches("QueueReachable", "True", "Reachable", within=SEEN)
    recovers(namespace)
    until(lambda: database.counts()[0] == 20, "the jobs are done", 30, 0.2)
    assert held >= 0


def test_redis_away_never_scales_down(namespace, redis_server, warehouse, redis):
    """With nothing to do, and a scale-in due at any moment."""
    namespace.apply(manifest(scaling={"minReplicas": 2}))
    namespace.scales(2)
    namespace.runs(2)
    redis_server.process.kill()
    namespace.reaches("QueueReachable", "False", "Unreachable", within=SEEN)
    namespace.patch({"spec": {"scaling": {"minReplicas": 0}}})
    until(
        lambda: namespace.queue()["status"]["observedGeneration"] == namespace.queue()["metadata"]["generation"],
        "the edit is seen",
        15,
        0.1,
    )
    with namespace.cluster.watch("deployments", namespace.name, "companies-worker") as watch:
        redis_server.start()
        namespace.reaches("QueueReachable", "True", within=SEEN)
        namespace.scales(0, within=30)
        assert watch.values(lambda each: each["spec"]["replicas"])[0] == 2, "they stayed as long as nobody knew"


def test_static_workers_while_redis_is_away(namespace, redis_server, warehouse):
    namespace.apply(manifest(scaling={"onQueueFailure": "Static", "staticReplicas": 2}))
    namespace.reaches("Ready", "True", "Idle")
    redis_server.process.kill()
    namespace.scales(2, within=SEEN)
    redis_server.start()
    namespace.scales(0, within=30)


def test_wrong_redis_password(namespace, redis_server, redis, warehouse):
    redis.config_set("requirepass", "other")
    namespace.apply(manifest())
    namespace.reaches("QueueReachable", "False", "Denied", within=SEEN)
    namespace.reaches("Ready", "False", "Denied", within=1)
    redis.execute_command("AUTH", "other")
    redis.config_set("requirepass", "")
    namespace.reaches("QueueReachable", "True", "Reachable", within=SEEN)
    recovers(namespace)


def test_a_key_of_another_kind(namespace, redis, warehouse):
    redis.set("rq:queue:companies", "not a list")
    namespace.apply(manifest())
    namespace.reaches("QueueReachable", "False", "WrongData", within=SEEN)
    redis.delete("rq:queue:companies")
    namespace.reaches("QueueReachable", "True", "Reachable", within=SEEN)
    recovers(namespace)


def test_redis_that_may_evict(namespace, redis, warehouse):
    redis.config_set("maxmemory", "512mb")
    redis.config_set("maxmemory-policy", "allkeys-lru")
    namespace.apply(manifest())
    namespace.reaches("Degraded", "True", "EvictionPossible", within=SEEN)
    namespace.reaches("Ready", "True", within=1)
    redis.config_set("maxmemory-policy", "noeviction")
    namespace.reaches("Degraded", "False", "AsSpecified", within=SEEN)


def test_wrong_database_password(namespace, redis_server, database, producer):
    role = f"r{database.name}"
    database.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'right' SUPERUSER")
    url = database.remote_url.replace("jobqueue:secret@", f"{role}:wrong@")
    namespace.secret("warehouse", redis=redis_server.url, database=url)
    namespace.apply(manifest())
    lines = companies.make(20, seed=10)
    producer.enqueue(lines)
    namespace.reaches("DatabaseReachable", "False", "Denied", within=SEEN)
    namespace.reaches("Ready", "False", "Denied", within=1)
    database.execute(f"ALTER ROLE {role} PASSWORD 'wrong'")
    namespace.reaches("DatabaseReachable", "True", "Reachable", within=SEEN)
    until(lambda: database.counts()[0] == 20, "the jobs are done", 30, 0.2)


@pytest.mark.takes(20)
def test_database_away(namespace, redis_server, tmp_path, host, producer):
    """A server of its own, because it goes."""
    import tempfile

    from e2e.harness import databases

    with tempfile.TemporaryDirectory(prefix="jobqueue-database-") as directory:
        database = databases.start("postgres", f"{directory}/own", host)
        try:
            namespace.secret("warehouse", redis=redis_server.url, database=database.remote_url)
            namespace.apply(
                manifest(
                    scaling={"minReplicas": 1, "maxReplicas": 5, "targets": {"jobsPerWorker": 5, "drainSeconds": None}}
                )
            )
            namespace.runs(1)
            lines = companies.make(40, seed=12)
            database.process.kill()
            producer.enqueue(lines[:5])
            namespace.reaches("DatabaseReachable", "False", "Unreachable", within=SEEN)
            producer.enqueue(lines[5:], first=5)
            said = namespace.reaches("ScalingLimited", "True", "DatabaseSaturated", within=SEEN)
            assert "held at 1 until the database is back" in said["message"], said
            assert namespace.deployment()["spec"]["replicas"] == 1, "more workers do not help"
            database._start()
            namespace.reaches("DatabaseReachable", "True", "Reachable", within=SEEN)
            recovers(namespace)
            until(lambda: database.counts()[0] == 40, "all jobs are done", 30, 0.2)
        finally:
            database.process.kill()


def test_missing_table(namespace, database, warehouse, producer):
    database.execute("ALTER TABLE stockholder RENAME TO elsewhere")
    namespace.apply(manifest())
    lines = companies.make(20, seed=13)
    producer.enqueue(lines)
    stalls(namespace, "InvalidRecipe", "stockholder")
    database.execute("ALTER TABLE elsewhere RENAME TO stockholder")
    namespace.reaches("Stalled", "False", within=SEEN)
    recovers(namespace)
    until(lambda: database.counts()[0] == 20, "the jobs are done", 30, 0.2)


def test_a_recipe_that_does_not_compile(namespace, warehouse, producer):
    recipe = manifest()["spec"]["ingest"]
    recipe[0]["tables"][0]["columns"]["name"] = "record.Company.("
    namespace.apply(manual(1, ingest=recipe))
    stalls(namespace, "InvalidRecipe", "ingest[0].tables[0].columns.name")
    namespace.apply(manual(1))
    recovers(namespace)


def test_jobs_that_fail(namespace, warehouse, producer, redis):
    namespace.apply(manual(1))
    namespace.runs(1)
    producer.enqueue(["{"] * 200)
    until(lambda: redis.zcard("rq:failed:companies") == 200, "all jobs fail", 30, 0.1)
    namespace.reaches("Degraded", "True", "JobsFailing", within=SEEN)
    namespace.reaches("Ready", "True", within=1)


@pytest.mark.takes(15)
def test_another_autoscaler(namespace, warehouse):
    namespace.apply(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "competing"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "companies-worker"},
                "maxReplicas": 3,
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
                    }
                ],
            },
        }
    )
    namespace.apply(manual(1))
    said = namespace.reaches("Degraded", "True", "ScalerConflict", within=SEEN)
    assert "HorizontalPodAutoscaler competing" in said["message"]
    namespace.kubectl("delete", "hpa", "competing")
    namespace.reaches("Degraded", "False", "AsSpecified", within=SEEN)


@pytest.mark.parametrize(
    "limit, spec",
    [
        ("MaxReplicas", {"scaling": {"maxReplicas": 1, "targets": {"jobsPerWorker": 10}}}),
        ("ConnectionBudget", {"scaling": {"targets": {"jobsPerWorker": 10}}, "database": {"maxConnections": 2}}),
        ("StepLimited", {"scaling": {"maxReplicas": 40, "targets": {"jobsPerWorker": 10}, "scaleUp": {"maxStep": 1}}}),
        ("Stabilizing", {"scaling": {"targets": {"jobsPerWorker": 10}, "scaleUp": {"stabilizationSeconds": 3600}}}),
    ],
)
def test_limits(namespace, redis_server, warehouse, limit, spec):
    """Jobs in a queue that no worker can serve yet, so that they wait: an image that takes no jobs."""
    spec = {**spec, "worker": {"template": {"spec": {"nodeSelector": {"e2e": "nowhere"}}}}}
    Producer(redis_server.client()).enqueue(companies.make(200, seed=14))
    namespace.apply(manifest(**spec))
    said = namespace.reaches("ScalingLimited", "True", limit, within=SEEN)
    assert said["message"]
    assert conditions(namespace.queue())["ScaledToTarget"]["status"] == "False"
