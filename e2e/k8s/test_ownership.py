"""What the operator owns stays as it says, and goes with the JobQueue."""

import pytest

from e2e.harness import backlog, companies
from e2e.harness.companies import Expected
from e2e.harness.manifests import companies as manifest
from e2e.harness.manifests import manual
from e2e.harness.waiting import until

pytestmark = pytest.mark.usefixtures("operator", "warehouse")

PUT_BACK = 5.0


def container(namespace):
    return namespace.deployment()["spec"]["template"]["spec"]["containers"][0]


def configs(namespace):
    """The names of the queue's configs."""
    found = namespace.cluster.get("configmaps", namespace=namespace.name)
    return sorted(each["metadata"]["name"] for each in found if each["metadata"]["name"].startswith("companies-worker"))


def mounted(namespace):
    return namespace.deployment()["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"]


def test_what_it_makes(namespace):
    namespace.apply(manual(1))
    namespace.runs(1)
    queue = namespace.queue()
    [config] = configs(namespace)
    names = [("deployments", "companies-worker"), ("poddisruptionbudgets", "companies-worker"), ("configmaps", config)]
    for plural, name in names:
        made = namespace.cluster.get(plural, name, namespace.name)
        owner = made["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("JobQueue", queue["metadata"]["uid"], True), (
            plural
        )
        assert made["metadata"]["labels"]["jobqueue.dev/queue"] == "companies"
        assert made["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "jobqueue-operator"
    pod = namespace.deployment()["spec"]["template"]
    assert pod["spec"]["terminationGracePeriodSeconds"] == 15, "drainSeconds + 5"
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert {"jobqueue.dev/config-hash", "jobqueue.dev/secret-hash"} <= set(pod["metadata"]["annotations"])
    only = pod["spec"]["containers"][0]
    assert only["securityContext"]["readOnlyRootFilesystem"] is True
    assert only["resources"]["requests"] and only["resources"]["limits"]["memory"]
    config = namespace.cluster.get("configmaps", config, namespace.name)
    assert config["immutable"] is True
    assert "secret@" not in str(config) and "redis://" not in str(config), "no URL in a ConfigMap"
    assert "secret@" not in str(namespace.deployment()), "URLs come from the Secret by reference"


def test_hand_edits_are_put_back(namespace):
    namespace.apply(manual(1))
    namespace.runs(1)
    image = container(namespace)["image"]
    namespace.kubectl("scale", "deployment/companies-worker", "--replicas=3")
    namespace.scales(1, within=PUT_BACK)
    namespace.kubectl("set", "image", "deployment/companies-worker", "worker=docker.io/local/pause:1")
    until(lambda: container(namespace)["image"] == image, "the image is put back", PUT_BACK, 0.05)
    namespace.kubectl("set", "env", "deployment/companies-worker", "JOBQUEUE_CONFIG=/somewhere/else")
    until(lambda: "/somewhere/else" not in str(container(namespace)), "the environment is put back", PUT_BACK, 0.05)
    namespace.kubectl("label", "deployment/companies-worker", "jobqueue.dev/queue=other", "--overwrite")
    until(
        lambda: namespace.deployment()["metadata"]["labels"]["jobqueue.dev/queue"] == "companies",
        "the label is put back",
        PUT_BACK,
        0.05,
    )
    namespace.runs(1)


def test_a_deleted_deployment_comes_back(namespace):
    namespace.apply(manual(2))
    before = namespace.runs(2)
    uid = namespace.deployment()["metadata"]["uid"]
    namespace.kubectl("delete", "deployment", "companies-worker", "--wait=false")
    until(
        lambda: (namespace.deployment() or {"metadata": {"uid": uid}})["metadata"]["uid"] != uid,
        "a new one",
        PUT_BACK,
        0.05,
    )
    after = namespace.runs(2)
    assert not {pod["metadata"]["uid"] for pod in before} & {pod["metadata"]["uid"] for pod in after}


def test_a_broken_recipe_spares_healthy_pods_and_is_rolled_back(namespace):
    namespace.apply(manual(1))
    [pod] = namespace.runs(1)
    good = mounted(namespace)
    recipe = namespace.queue()["spec"]["ingest"]
    recipe[0]["tables"][0]["columns"]["no_such_column"] = "record.x"
    namespace.patch({"spec": {"ingest": recipe}})
    until(lambda: mounted(namespace) != good, "the new recipe is in a ConfigMap of its own", 10, 0.1)
    assert set(configs(namespace)) == {good, mounted(namespace)}
    uid = pod["metadata"]["uid"]
    assert uid in {each["metadata"]["uid"] for each in namespace.pods()}, "the healthy pod goes on"
    namespace.kubectl("rollout", "undo", "deployment/companies-worker")
    namespace.reaches("Degraded", "True", "RolledBack")
    assert mounted(namespace) == good
    assert uid in {each["metadata"]["uid"] for each in namespace.pods()}
    del recipe[0]["tables"][0]["columns"]["no_such_column"]
    recipe[0]["tables"][0]["when"] = "true"
    namespace.patch({"spec": {"ingest": recipe}})
    namespace.reaches("Degraded", "False")
    assert mounted(namespace) != good


def test_what_is_deleted_beside_the_deployment_comes_back(namespace):
    namespace.apply(manual(0, worker={"networkPolicy": {}}))
    namespace.reaches("Ready", "True")
    for plural in ("configmaps", "poddisruptionbudgets", "networkpolicies"):
        name = mounted(namespace) if plural == "configmaps" else "companies-worker"
        uid = namespace.cluster.get(plural, name, namespace.name)["metadata"]["uid"]
        namespace.kubectl("delete", plural, name)

        def is_back(plural=plural, name=name, uid=uid):
            found = namespace.cluster.get(plural, name, namespace.name)
            return found and found["metadata"]["uid"] != uid

        until(is_back, f"a new one of {plural}", PUT_BACK, 0.05)


def test_a_queue_without_a_disruption_budget(namespace):
    def budget():
        return namespace.cluster.get("poddisruptionbudgets", "companies-worker", namespace.name)

    namespace.apply(manual(0))
    until(budget, "there is one", 15, 0.1)
    namespace.patch({"spec": {"worker": {"podDisruptionBudget": {"enabled": False}}}})
    until(lambda: budget() is None, "it is removed", 15, 0.1)
    namespace.patch({"spec": {"worker": {"podDisruptionBudget": None}}})
    until(budget, "it is there again", 15, 0.1)


@pytest.mark.parametrize("plural", ["poddisruptionbudgets", "networkpolicies"])
def test_an_object_of_somebody_else_is_left_alone(namespace, plural):
    kinds = {
        "poddisruptionbudgets": ("policy/v1", "PodDisruptionBudget", {"minAvailable": 1, "selector": {}}),
        "networkpolicies": ("networking.k8s.io/v1", "NetworkPolicy", {"podSelector": {"matchLabels": {"a": "b"}}}),
    }
    version, kind, spec = kinds[plural]
    namespace.apply({"apiVersion": version, "kind": kind, "metadata": {"name": "companies-worker"}, "spec": spec})
    before = namespace.cluster.get(plural, "companies-worker", namespace.name)
    namespace.apply(manual(0, worker={"networkPolicy": {}}))
    assert kind in namespace.reaches("Stalled", "True", "NameTaken")["message"]
    after = namespace.cluster.get(plural, "companies-worker", namespace.name)
    assert after["spec"] == before["spec"] and "ownerReferences" not in after["metadata"]
    namespace.kubectl("delete", plural, "companies-worker")
    namespace.reaches("Ready", "True")


def test_a_config_of_somebody_else_is_left_alone(namespace):
    """The name of a config is that of its content. A queue that is deleted and comes again finds it taken."""
    namespace.apply(manual(0))
    namespace.reaches("Ready", "True")
    name, data = mounted(namespace), {"theirs": "kept"}
    namespace.kubectl("delete", "jobqueue", "companies")
    until(lambda: not configs(namespace) and not namespace.deployment(), "nothing is left", 30, 0.1)
    namespace.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
    namespace.apply(manual(0))
    assert name in namespace.reaches("Stalled", "True", "NameTaken")["message"]
    assert namespace.cluster.get("configmaps", name, namespace.name)["data"] == data
    namespace.kubectl("delete", "configmap", name)
    namespace.reaches("Ready", "True")


def test_others_may_add_what_is_theirs(namespace):
    """Annotations and labels that other tools write stay, and replace no worker."""
    namespace.apply(manual(1))
    before = namespace.runs(1)
    namespace.kubectl("annotate", "deployment/companies-worker", "example.com/note=theirs")
    namespace.patch({"spec": {"scaling": {"maxReplicas": 7}}})
    until(
        lambda: namespace.queue()["status"]["observedGeneration"] == namespace.queue()["metadata"]["generation"],
        "the edit is seen",
        10,
        0.1,
    )
    assert namespace.deployment()["metadata"]["annotations"]["example.com/note"] == "theirs"
    assert namespace.runs(1)[0]["metadata"]["uid"] == before[0]["metadata"]["uid"]


def test_deletion_drains_and_leaves_nothing(namespace, database, redis, producer):
    namespace.apply(manual(2, worker={"batchSize": 20}))
    namespace.runs(2)
    lines = companies.make(6000, seed=41)
    producer.enqueue(lines)
    until(lambda: backlog.read(redis).finished > 100, "they work", 20)
    namespace.kubectl("delete", "jobqueue", "companies", "--timeout=30s")
    for plural in ("deployments", "replicasets", "configmaps", "poddisruptionbudgets", "pods"):
        until(
            lambda plural=plural: (
                not [
                    each
                    for each in namespace.cluster.get(plural, namespace=namespace.name)
                    if each["metadata"]["name"].startswith("companies")
                ]
            ),
            f"no {plural} is left",
            40,
            0.1,
        )
    now = backlog.read(redis)
    assert now.running == 0 and now.failed == 0, f"running jobs are finished or released: {now}"
    done = database.counts()[0]
    assert done + now.waiting == len(lines), (done, now)
    namespace.apply(manual(2))
    expected = Expected(lines)
    expected.wait_until_written(redis, database)


def test_a_new_queue_of_the_same_name_begins_anew(namespace, redis, producer):
    namespace.apply(manifest())
    namespace.reaches("Ready", "True", "Idle")
    first = namespace.queue()["metadata"]["uid"]
    namespace.kubectl("delete", "jobqueue", "companies")
    namespace.apply(manual(1))
    namespace.runs(1)
    assert (
        namespace.deployment()["metadata"]["ownerReferences"][0]["uid"] == namespace.queue()["metadata"]["uid"] != first
    )


def test_a_network_policy_for_whoever_asks(namespace, cluster):
    """It is made, owned, edited and removed with its field."""

    def policy():
        return cluster.get("networkpolicies", "companies-worker", namespace.name)

    namespace.apply(manual(0, worker={"networkPolicy": {}}))
    made = until(policy, "the policy is made", 15, 0.1)
    assert made["metadata"]["ownerReferences"][0]["uid"] == namespace.queue()["metadata"]["uid"]
    assert made["spec"]["podSelector"]["matchLabels"]["jobqueue.dev/queue"] == "companies"
    assert made["spec"]["policyTypes"] == ["Ingress"]
    assert made["spec"]["ingress"] == [{"ports": [{"port": 9090, "protocol": "TCP"}]}]
    redis = {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 6379, "protocol": "TCP"}]}
    namespace.patch({"spec": {"worker": {"networkPolicy": {"egress": [redis]}}}})
    until(lambda: "Egress" in policy()["spec"]["policyTypes"], "the edit is followed", 15, 0.1)
    assert policy()["spec"]["egress"][0] == redis
    assert {each["port"] for each in policy()["spec"]["egress"][1]["ports"]} == {53}
    namespace.patch({"spec": {"worker": {"networkPolicy": {"egress": [{"ports": "none"}]}}}})
    said = namespace.reaches("Stalled", "True", "InvalidSpec")
    assert "networkPolicy.egress[0]" in said["message"], said
    namespace.patch({"spec": {"worker": {"networkPolicy": None}}})
    until(lambda: policy() is None, "it is removed", 15, 0.1)
    namespace.reaches("Ready", "True")
