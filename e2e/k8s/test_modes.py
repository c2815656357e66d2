"""What a person does with a queue that is served: scale, pause, edit, rotate a password."""

import pytest

from e2e.harness import backlog, companies
from e2e.harness.companies import Expected
from e2e.harness.kube import conditions, replicas
from e2e.harness.manifests import companies as manifest
from e2e.harness.manifests import manual
from e2e.harness.waiting import until

pytestmark = pytest.mark.usefixtures("operator")


def uids(pods):
    return {pod["metadata"]["uid"] for pod in pods}


def rolled_out(namespace):
    """The Deployment's revision, once the operator has seen the present spec and every pod is of it."""

    def settled():
        queue = namespace.queue()
        states = conditions(queue)
        seen = queue["status"].get("observedGeneration") == queue["metadata"]["generation"]
        return seen and states["Reconciling"]["status"] == "False" and states["WorkersAvailable"]["status"] == "True"

    until(settled, lambda: f"the spec is carried out\n{namespace.conditions_text()}", 60, 0.2)
    return namespace.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"]


def all_done(redis, database, expected, seconds=60):
    until(
        lambda: backlog.drained(redis) and database.counts()[:2] == (expected.companies, expected.partners),
        lambda: f"{backlog.read(redis)} {database.counts()}",
        seconds,
        0.1,
    )


@pytest.mark.usefixtures("warehouse")
def test_kubectl_scale_in_manual_mode(namespace):
    namespace.apply(manual(1))
    namespace.runs(1)
    namespace.kubectl("scale", "jobqueue/companies", "--replicas=3")
    namespace.scales(3, within=5)
    namespace.runs(3)
    until(lambda: namespace.queue()["status"]["readyReplicas"] == 3, "the status follows", 10, 0.1)
    status = namespace.queue()["status"]
    assert (status["replicas"], status["desiredReplicas"]) == (3, 3)
    assert conditions(namespace.queue())["Paused"]["reason"] == "ModeManual"
    selected = namespace.kubectl("get", "pods", "-l", status["selector"], "-o", "name").split()
    assert len(selected) == 3, "the scale subresource's selector finds the workers"
    namespace.kubectl("scale", "jobqueue/companies", "--replicas=0")
    namespace.scales(0, within=5)
    namespace.runs(0)
    namespace.reaches("Ready", "True")


@pytest.mark.takes(18)
@pytest.mark.usefixtures("warehouse")
def test_pause_and_resume(namespace, redis, database, producer):
    namespace.apply(manifest())
    namespace.reaches("Ready", "True", "Idle")
    namespace.patch({"spec": {"scaling": {"mode": "Paused"}}})
    namespace.reaches("Paused", "True", "ModePaused")
    lines = companies.make(500, seed=5)
    with namespace.cluster.watch("deployments", namespace.name, "companies-worker") as watch:
        producer.enqueue(lines)
        until(lambda: namespace.queue()["status"]["queue"]["waiting"] == 500, "the backlog is in the status", 30, 0.2)
        namespace.reaches("Ready", "True", "ModePaused")
        assert watch.values(replicas) == [0], "nobody is hired during a pause"
    namespace.patch({"spec": {"scaling": {"mode": "Auto"}}})
    namespace.scales(lambda number: number > 0, within=5)
    namespace.reaches("Paused", "False", "ModeAuto")
    all_done(redis, database, Expected(lines))


@pytest.mark.usefixtures("warehouse")
def test_an_edit_of_the_recipe_rolls_out_once(namespace, redis, database, producer, measure):
    namespace.apply(manual(2))
    before = namespace.runs(2)
    revision = rolled_out(namespace)
    recipe = namespace.queue()["spec"]["ingest"]
    recipe[0]["tables"][0]["columns"]["company_logo"] = '"logo.png"'
    namespace.patch({"spec": {"ingest": recipe}})
    namespace.reaches("Reconciling", "True", within=5)
    assert int(rolled_out(namespace)) == int(revision) + 1
    after = namespace.runs(2)
    assert not uids(before) & uids(after), "every worker has the new recipe"
    lines = companies.make(50, seed=6)
    producer.enqueue(lines)
    all_done(redis, database, Expected(lines))
    assert database.query("SELECT DISTINCT company_logo FROM company_regist_info") == [("logo.png",)]

    # What workers need not know of does not replace them.
    namespace.patch({"spec": {"scaling": {"maxReplicas": 9, "idleSeconds": 3}}})
    assert int(rolled_out(namespace)) == int(revision) + 1
    assert uids(namespace.runs(2)) == uids(after)


@pytest.mark.usefixtures("warehouse")
def test_a_rotated_redis_password_is_followed(namespace, redis_server, redis, database, producer):
    namespace.apply(manual(1))
    first = namespace.runs(1)
    redis.config_set("requirepass", "second")
    redis_server.password = "second"
    redis.connection_pool.disconnect()
    client = redis_server.client()
    client.client_kill_filter(_type="normal", skipme=True)
    namespace.secret("warehouse", redis=redis_server.url.replace("redis://", "redis://:second@"))
    until(
        lambda: namespace.ready_pods() and not uids(first) & uids(namespace.ready_pods()),
        "a worker with the new password",
        30,
        0.1,
    )
    namespace.reaches("QueueReachable", "True", within=15)
    producer.redis = client
    lines = companies.make(50, seed=7)
    producer.enqueue(lines)
    all_done(client, database, Expected(lines))


def test_a_rotated_database_password_is_followed(namespace, redis_server, redis, database, producer):
    database.execute(
        "CREATE ROLE rotated_role LOGIN PASSWORD 'one'",
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO rotated_role",
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO rotated_role",
        "GRANT CREATE ON SCHEMA public TO rotated_role",
    )
    try:
        url = database.remote_url.replace("jobqueue:secret@", "rotated_role:{}@")
        namespace.secret("warehouse", redis=redis_server.url, database=url.format("one"))
        namespace.apply(manual(1))
        first = namespace.runs(1)
        database.execute(
            "ALTER ROLE rotated_role PASSWORD 'two'",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'rotated_role'",
        )
        namespace.secret("warehouse", database=url.format("two"))
        lines = companies.make(50, seed=8)
        producer.enqueue(lines)
        until(
            lambda: namespace.ready_pods() and not uids(first) & uids(namespace.ready_pods()),
            "a worker with the new password",
            30,
            0.1,
        )
        all_done(redis, database, Expected(lines))
        namespace.reaches("DatabaseReachable", "True")
    finally:
        namespace.apply(manual(0))
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'rotated_role'",
            "DROP OWNED BY rotated_role",
            "DROP ROLE rotated_role",
        )
