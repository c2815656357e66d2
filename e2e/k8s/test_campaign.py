"""Random changes of a manifest, of what the operator made, and of what is in its way. After each, and within ten
seconds, the objects are those of a queue that was born with that manifest.

What may change is what the campaign on a cluster in memory takes too (`operator/tests/fake_cluster/campaign.rs`).
E2E_CHANGES says how many changes there are, E2E_SEED which.
"""

import copy
import json
import os
import random
import time
import urllib.error
from dataclasses import dataclass, field

import pytest

from e2e.harness import ROOT
from e2e.harness.kube import GROUP, KINDS, conditions
from e2e.harness.waiting import until

pytestmark = pytest.mark.usefixtures("operator")

FIELDS = json.loads((ROOT / "operator" / "tests" / "fake_cluster" / "changes.json").read_text(encoding="utf-8"))
CHANGES = int(os.environ.get("E2E_CHANGES") or 30)
SEED = int(os.environ.get("E2E_SEED") or 1)
BOUND = 10.0
NAME, WORKERS = "lines", "lines-worker"
OWNED = ("deployments", "configmaps", "poddisruptionbudgets", "networkpolicies")
NURSERIES = 6  # namespaces in which queues are born: what is deleted there has some time to go
SPEC = {
    "queue": {
        "protocol": "List",
        "names": ["lines"],
        "redis": {"urlSecretKeyRef": {"name": "warehouse", "key": "redis"}},
    },
    "database": {"urlSecretKeyRef": {"name": "warehouse", "key": "database"}},
    "ingest": [{"tables": [{"table": "t", "columns": {"a": "record.a"}}]}],
    "scaling": {"maxReplicas": 8, "targets": {"jobsPerWorker": 100}},
}
# Manifests that no queue can be served by: the path, the value, and the reason that the operator gives; None where the
# API server takes none of it.
BROKEN = (
    ("worker.template", {"spec": {"containers": [{"name": "worker", "ports": "none"}]}}, "InvalidSpec"),
    ("worker.networkPolicy", {"egress": [{"ports": 5}]}, "InvalidSpec"),
    ("queue.redis", {"urlSecretKeyRef": {"name": "nowhere", "key": "redis"}}, "SecretNotFound"),
    ("queue.redis", {"urlSecretKeyRef": {"name": "warehouse", "key": "other"}}, "SecretKeyNotFound"),
    ("queue.names", [], None),
    ("scaling.mode", "Sometimes", None),
    ("scaling.maxReplicas", -1, None),
)
# What the operator writes and depends on what was before: versions, numbers of generations.
HISTORY = (
    "jobqueue.dev/plan-hash",
    "jobqueue.dev/secret-version",
    "jobqueue.dev/generation",
    "jobqueue.dev/secret-hash",
    "deployment.kubernetes.io/revision",
)


def changed(spec, path, value):
    """The spec with another value at the path; None removes it."""
    result = copy.deepcopy(spec)
    *parents, last = path.split(".")
    at = result
    for name in parents:
        at = at.setdefault(name, {})
    if value is None:
        at.pop(last, None)
    else:
        at[last] = value
    return result


def without_empty(spec):
    """Sections that a removed field has left empty are none."""
    return {name: value for name, value in spec.items() if value != {}}


def comparable(kind, found, mode):
    """What is to be the same, of one object."""
    result = copy.deepcopy(found)
    result.pop("status", None)
    meta = result["metadata"]
    result["metadata"] = {
        "name": meta["name"],
        "labels": {key: value for key, value in meta.get("labels", {}).items() if key not in HISTORY},
        "annotations": {key: value for key, value in meta.get("annotations", {}).items() if key not in HISTORY},
        "owners": [(each["kind"], each["name"], each["controller"]) for each in meta.get("ownerReferences", [])],
    }
    if kind == "deployments":
        annotations = result["spec"]["template"]["metadata"]["annotations"]
        assert annotations.pop("jobqueue.dev/secret-hash")
        # As many as the database had connections for when it was last applied.
        assert "maxSurge" in result["spec"]["strategy"]["rollingUpdate"]
        del result["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
        if mode != "Manual":  # neither the spec nor a backlog says how many
            del result["spec"]["replicas"]
    return result


@dataclass
class Place:
    """A namespace with a queue of that name, and what there is of it."""

    namespace: object
    kept: dict = field(default_factory=dict)

    @property
    def cluster(self):
        return self.namespace.cluster

    @property
    def path(self):
        return f"{GROUP}/namespaces/{self.namespace.name}/jobqueues/{NAME}"

    def create(self, spec):
        body = {"apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue", "metadata": {"name": NAME}, "spec": spec}
        self.cluster.raw(self.path.removesuffix(f"/{NAME}"), method="POST", body=body)

    def replace(self, spec):
        """Another spec; False if the API server refuses it."""
        patch = [{"op": "replace", "path": "/spec", "value": spec}]
        try:
            self.cluster.raw(self.path, method="PATCH", body=patch, kind="application/json-patch+json")
        except urllib.error.HTTPError as error:
            if error.code != 422:
                raise
            return False
        return True

    def remove(self):
        self.cluster.raw(self.path, method="DELETE")

    def is_empty(self):
        return self.namespace.queue(NAME) is None and not any(self.listed(kind) for kind in OWNED)

    def listed(self, kind):
        path = f"{KINDS[kind]}/namespaces/{self.namespace.name}/{kind}?labelSelector=jobqueue.dev/queue={NAME}"
        return self.cluster.raw(path)["items"]

    def objects(self):
        """Everything of the queue that is to be the same; None while the operator has not seen the present spec."""
        queue = self.namespace.queue(NAME)
        if not queue or (queue.get("status") or {}).get("observedGeneration") != queue["metadata"]["generation"]:
            return None
        mode = queue["spec"]["scaling"].get("mode")
        found = {(kind, each["metadata"]["name"]): each for kind in OWNED for each in self.listed(kind)}
        deployment = found.get(("deployments", WORKERS))
        if not deployment:
            return None
        volumes = deployment["spec"]["template"]["spec"].get("volumes", [])
        mounted = {volume["configMap"]["name"] for volume in volumes if "configMap" in volume}
        # Those of earlier recipes stay while a ReplicaSet needs them.
        return {
            key: comparable(key[0], each, mode)
            for key, each in found.items()
            if key[0] != "configmaps" or key[1] in mounted
        }


def difference(found, wanted):
    if not found or not wanted:
        return f"found {found and sorted(found)}, wanted {wanted and sorted(wanted)}"
    differing = [
        f"{key}:\nfound  {json.dumps(found[key])}\nwanted {json.dumps(wanted[key])}"
        for key in sorted(set(found) & set(wanted))
        if found[key] != wanted[key]
    ]
    return "\n".join([f"only in one: {sorted(set(found) ^ set(wanted))}", *differing])


class Campaign:
    """One queue that is changed again and again, and others that are born as it is to be."""

    def __init__(self, subject, nurseries):
        self.random, self.spec = random.Random(SEED), SPEC
        self.subject, self.nurseries = subject, nurseries
        self.wanted, self.slowest, self.kinds = None, (0.0, ""), {}

    def draw(self):
        """One to three changes of fields that the API server accepts, made to the queue; what they were."""
        while True:
            spec, paths = self.spec, []
            for _ in range(self.random.randint(1, 3)):
                path, values = self.random.choice(FIELDS)
                spec = without_empty(changed(spec, path, self.random.choice(values)))
                paths.append(path)
            if spec != self.spec and self.subject.replace(spec):
                self.spec = spec
                return "+".join(paths)

    def give_birth(self):
        """What a queue has that is born with the present spec."""
        place = self.nurseries.pop(0)
        self.nurseries.append(place)
        until(place.is_empty, lambda: f"{place.namespace.name} is empty again", 60, 0.1)
        place.create(self.spec)
        wanted = until(place.objects, lambda: f"a new queue is served: {json.dumps(self.spec)}", 30, 0.05)
        place.remove()
        return wanted

    def compare(self, what, began):
        """Waits for the objects that are wanted, and notes how long that took."""
        until(
            lambda: self.subject.objects() == self.wanted,
            lambda: f"seed {SEED}, {what}, {json.dumps(self.spec)}\n{difference(self.subject.objects(), self.wanted)}",
            max(0.1, BOUND - (time.monotonic() - began)),
            0.03,
        )
        took = time.monotonic() - began
        self.slowest = max(self.slowest, (took, what))
        kind = what.split()[0]
        self.kinds[kind] = self.kinds.get(kind, 0) + 1

    def change(self):
        began = time.monotonic()
        what = f"change of {self.draw()}"
        self.wanted = self.give_birth()
        self.compare(what, began)

    def delete(self):
        """Somebody deletes an object of the queue: a new one comes."""
        kind, name = self.random.choice(sorted(self.wanted))
        path = f"{KINDS[kind]}/namespaces/{self.subject.namespace.name}/{kind}/{name}"
        uid = self.subject.cluster.raw(path)["metadata"]["uid"]
        began = time.monotonic()
        self.subject.cluster.raw(path, method="DELETE")

        def is_new():
            found = self.subject.cluster.raw(path)
            return found and found["metadata"]["uid"] != uid

        until(is_new, lambda: f"seed {SEED}: {kind}/{name} is there again", BOUND, 0.03)
        self.compare(f"deletion of {kind}", began)

    def edit(self):
        """Somebody edits the Deployment: it is put back."""
        # Of fields that the operator sets: what others add to them stays.
        container = {"name": "worker", "image": "else:1", "resources": {"limits": {"memory": "1Gi"}}}
        edits = {
            "replicas": {"spec": {"replicas": 7}},
            "image": {"spec": {"template": {"spec": {"containers": [container]}}}},
            "grace": {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}},
            "label": {"metadata": {"labels": {"app.kubernetes.io/managed-by": "else"}}},
        }
        name = self.random.choice(sorted(edits))
        path = f"{KINDS['deployments']}/namespaces/{self.subject.namespace.name}/deployments/{WORKERS}"
        began = time.monotonic()
        self.subject.cluster.raw(path, method="PATCH", body=edits[name], kind="application/strategic-merge-patch+json")
        self.compare(f"edit of {name}", began)

    def break_it(self):
        """A manifest that cannot be served changes nothing, and the one before is served again."""
        path, value, reason = self.random.choice(BROKEN)
        began, before = time.monotonic(), self.subject.namespace.queue(NAME)["metadata"]["generation"]
        accepted = self.subject.replace(changed(self.spec, path, value))
        assert accepted == (reason is not None), f"{path}: {value}"
        if accepted:

            def stalls():
                queue = self.subject.namespace.queue(NAME)
                found = conditions(queue).get("Stalled", {})
                return queue["metadata"]["generation"] > before and found.get("reason") == reason

            until(stalls, lambda: f"{path}: {reason}; {self.subject.namespace.conditions_text(NAME)}", BOUND, 0.05)
            assert self.subject.objects() == self.wanted, difference(self.subject.objects(), self.wanted)
            began = time.monotonic()
            assert self.subject.replace(self.spec)
        self.compare(f"broken {path}", began)

    def run(self, changes):
        self.subject.create(self.spec)
        self.wanted = self.give_birth()
        self.compare("birth", time.monotonic())
        steps = [self.change] * 6 + [self.delete, self.edit, self.break_it]
        for _ in range(changes):
            self.random.choice(steps)()


@pytest.mark.takes(30)
def test_after_each_of_many_changes_the_objects_are_those_of_a_newborn(namespaces, redis_server, database, measure):
    places = []
    for number in range(NURSERIES + 1):
        namespace = namespaces(f"-{number}")
        # No pods: the objects are compared, and hundreds of rollouts would cost the node dearly.
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
        namespace.apply({**quota, "spec": {"hard": {"pods": "0"}}})
        namespace.secret("warehouse", redis=redis_server.url, database=database.remote_url)
        places.append(Place(namespace))
    campaign = Campaign(places[0], places[1:])
    campaign.run(CHANGES)
    seconds, what = campaign.slowest
    measure(seed=SEED, slowest=seconds, of=what, **campaign.kinds)
