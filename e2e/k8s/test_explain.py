"""`jobqueue explain` says what `kubectl describe` says, with the numbers behind it."""

import json
import os
import shutil

import pytest

from e2e.harness import companies, kube
from e2e.harness.kube import conditions
from e2e.harness.manifests import companies as manifest
from e2e.harness.waiting import until
from e2e.harness.workers import binary

pytestmark = pytest.mark.usefixtures("operator")


def explain(*arguments, program=None):
    return kube.run([program or binary("jobqueue"), "explain", *arguments], seconds=30)


def test_a_decision_is_explained(namespace, warehouse, redis, producer, tmp_path):
    """Jobs in a queue that no worker can serve, so that they wait and the numbers stay."""
    nowhere = {"spec": {"nodeSelector": {"e2e": "nowhere"}}}
    producer.enqueue(companies.make(250, seed=71))
    namespace.apply(
        manifest(
            scaling={"maxReplicas": 3, "targets": {"jobsPerWorker": 50, "drainSeconds": None}},
            worker={"template": nowhere},
        )
    )
    namespace.reaches("ScalingLimited", "True", "MaxReplicas")
    said = until(lambda: namespace.queue()["status"].get("decision"), "the decision is in the status", 20, 0.1)
    assert said["reason"] == "JobsPerWorker" and said["wanted"] == 5, said
    assert {"reason": "MaxReplicas", "message": "maxReplicas is 3", "without": 5} in said["limits"]

    text = explain("companies", "-n", namespace.name)
    sentence = conditions(namespace.queue())["ScalingLimited"]["message"]
    assert sentence in text and sentence.startswith("250 jobs waiting and running at 50 per worker take 5 workers"), (
        text
    )
    assert "3 asked for, 0 ready; the work takes 5" in text, text
    assert "Raise scaling.maxReplicas" in text, text
    assert sentence in namespace.kubectl("describe", "jobqueue", "companies")

    until(lambda: namespace.queue()["status"].get("replicas") == 3, "the pods that were asked for are counted", 20, 0.1)
    document = json.loads(explain("companies", "-n", namespace.name, "-o", "json"))
    assert document["workers"] == {"wanted": 5, "desired": 3, "present": 3, "ready": 0}, document
    assert document["queue"]["waiting"] == 250
    assert any(
        each["reason"] == "JobsPerWorker" and each["workers"] == 5 for each in document["decision"]["candidates"]
    ), document
    assert [each["without"] for each in document["decision"]["limits"]] == [5]

    # As a plugin of kubectl; -n is kubectl's own habit.
    plugin = tmp_path / "kubectl-jobqueue"
    shutil.copy2(binary("jobqueue"), plugin)
    path = f"{tmp_path}:{os.environ['PATH']}"
    assert sentence in kube.run(
        ["kubectl", "jobqueue", "explain", "companies", "-n", namespace.name], env={"PATH": path}
    )


def test_what_cannot_be_explained(namespace):
    with pytest.raises(kube.Failed) as failed:
        explain("nobody", "-n", namespace.name)
    assert failed.value.code == 5 and "there is no JobQueue nobody" in failed.value.stderr
    with pytest.raises(kube.Failed) as failed:
        explain("companies", "--context", "no-such-context")
    assert failed.value.code == 2 and "no-such-context" in failed.value.stderr, failed.value.stderr
