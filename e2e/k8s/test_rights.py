"""What the operator and the workers may do: what they need, and nothing besides."""

import re

import pytest
import yaml

from e2e.harness import companies, kube
from e2e.harness.companies import Expected
from e2e.harness.manifests import companies as manifest
from e2e.harness.manifests import manual
from e2e.harness.operators import Release
from e2e.harness.waiting import until

# Everything that the operator does with the API server. A right that is not here is one too many; one that is here and
# was not given shows in the other tests.
NEEDED = {
    "jobqueues.jobqueue.dev": {"list", "watch"},
    "jobqueues.jobqueue.dev/status": {"patch"},
    "jobqueues.jobqueue.dev/finalizers": {"update"},  # asked for by OwnerReferencesPermissionEnforcement
    "deployments.apps": {"get", "list", "watch", "create", "patch"},
    "deployments.apps/scale": {"patch"},
    "configmaps": {"get", "list", "watch", "create", "patch", "delete"},
    "replicasets.apps": {"list"},
    "poddisruptionbudgets.policy": {"get", "list", "watch", "create", "patch", "delete"},
    "networkpolicies.networking.k8s.io": {"get", "list", "watch", "create", "patch", "delete"},
    "secrets": {"get"},
    "pods": {"list", "patch"},
    "events.events.k8s.io": {"create", "patch", "list"},
    "horizontalpodautoscalers.autoscaling": {"list"},
    "scaledobjects.keda.sh": {"list"},
}
LEASE = {"leases.coordination.k8s.io": {"create", "get", "update"}}


def granted(cluster, account, namespace):
    """What `kubectl auth can-i --list` shows for a service account, without what every account has."""

    def listed(user, *groups):
        text = cluster.kubectl(
            "auth", "can-i", "--list", f"--as={user}", *[f"--as-group={group}" for group in groups], "-n", namespace
        )
        rights = {}
        for line in text.splitlines()[1:]:
            of_resource = re.fullmatch(r"([^\s[]+)\s+\[\]\s+\[.*?\]\s+\[(.*?)\]", line.strip())
            if of_resource:
                rights.setdefault(of_resource[1], set()).update(of_resource[2].split())
            else:
                assert line.strip().startswith("[/") and line.strip().endswith("[get]"), (
                    f"URLs that every account may read: {line}"
                )
        return rights

    space, name = account
    everybody = listed("somebody", "system:authenticated", "system:serviceaccounts")
    rights = listed(
        f"system:serviceaccount:{space}:{name}",
        "system:authenticated",
        "system:serviceaccounts",
        f"system:serviceaccounts:{space}",
    )
    extra = {resource: verbs - everybody.get(resource, set()) for resource, verbs in rights.items()}
    return {resource: verbs for resource, verbs in extra.items() if verbs}


def documents(release):
    return [each for each in yaml.safe_load_all(release.manifest()) if each]


def test_the_operator_may_do_what_it_needs_and_no_more(cluster, release, namespace):
    account = (release.namespace, "jobqueue-operator")
    assert granted(cluster, account, namespace.name) == NEEDED
    assert granted(cluster, account, release.namespace) == {**NEEDED, **LEASE}
    for verb in ("list", "watch"):
        with pytest.raises(kube.Failed):
            cluster.kubectl(
                "auth",
                "can-i",
                verb,
                "secrets",
                f"--as=system:serviceaccount:{account[0]}:{account[1]}",
                namespace=namespace.name,
            )


def test_restricted_namespaces_take_operator_and_workers(cluster, release, namespace, warehouse):
    for name in (release.namespace, namespace.name):
        labels = cluster.raw(f"api/v1/namespaces/{name}")["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert release.pods()
    namespace.apply(manual(1))
    pod = namespace.runs(1)[0]
    security = pod["spec"]["securityContext"]
    assert security["runAsNonRoot"] is True and security["seccompProfile"]["type"] == "RuntimeDefault"


def test_workers_have_no_token(namespace, operator, warehouse):
    namespace.apply(manual(1))
    pod = namespace.runs(1)[0]
    assert pod["spec"]["automountServiceAccountToken"] is False
    mounted = [mount["mountPath"] for mount in pod["spec"]["containers"][0].get("volumeMounts", [])]
    assert not [path for path in mounted if "serviceaccount" in path], mounted
    assert not [
        volume
        for volume in pod["spec"].get("volumes", [])
        if "projected" in volume and "serviceAccountToken" in str(volume)
    ]


def test_helm_test_passes(cluster, release):
    for helm in ("helm", "helm3"):
        said = kube.run([helm, "test", release.name, "-n", release.namespace, "--logs", "--timeout", "60s"], seconds=90)
        assert re.search(r"Phase:\s+Succeeded", said), said
        assert re.search(r"POD LOGS: .*-check\n.* leads;", said), said


@pytest.mark.own_operator
def test_an_install_for_one_namespace(
    cluster, no_release, namespace, namespaces, redis_server, database, producer, redis
):
    """It has no right outside of its namespace, makes nothing cluster-wide, serves its own and leaves others alone."""
    elsewhere = namespaces("-other")
    release = Release(cluster, "small", namespace.name)
    release.install("scope=Namespace", "crds.install=false", "fullnameOverride=small")
    try:
        kinds = {each["kind"] for each in documents(release)}
        assert not {kind for kind in kinds if kind.startswith("Cluster") or kind == "CustomResourceDefinition"}, kinds
        account = (namespace.name, "small")
        assert granted(cluster, account, namespace.name) == {**NEEDED, **LEASE}
        assert granted(cluster, account, elsewhere.name) == {}
        for space in (namespace, elsewhere):
            space.secret("warehouse", redis=redis_server.url, database=database.remote_url)
        elsewhere.apply(manifest("other"))
        namespace.apply(manifest())
        namespace.reaches("Ready", "True")
        lines = companies.make(300, seed=51)
        producer.enqueue(lines)
        expected = Expected(lines)
        until(
            lambda: database.counts()[:2] == (expected.companies, expected.partners),
            lambda: str(database.counts()),
            60,
            0.1,
        )
        namespace.scales(0, within=30)
        assert list(kube.conditions(elsewhere.queue("other"))) == ["Ready"], (
            "another namespace's queue is not its business"
        )
        assert not elsewhere.deployment("other")
        assert "forbidden" not in release.log(tail=500)
    finally:
        release.uninstall()
