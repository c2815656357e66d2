"""The CustomResourceDefinition before a real API server: defaults, immutable fields, columns, scale, explain."""

import json
import re

import pytest

from e2e.harness import ROOT, kube

from .crd_manifests import DEFINITION, INGEST, REFERENCE, SCALER, TABLE, changed, manifest

pytestmark = pytest.mark.usefixtures("crd")


def test_defaults(namespace):
    namespace.apply(manifest({**INGEST, "scaling": {}, "worker": {}}))
    spec = namespace.queue("q")["spec"]
    assert spec["replicas"] == 1
    assert spec["queue"] == {
        **SCALER["queue"],
        "protocol": "RQ",
        "keyPrefix": "rq",
        "order": "Strict",
        "leaseSeconds": 30,
        "resultTtlSeconds": 500,
        "failureTtlSeconds": 31_536_000,
        "consumerGroup": "jobqueue",
        "limits": {"maxBytes": 16 << 20, "maxInflatedBytes": 64 << 20, "maxDepth": 128},
    }
    assert spec["retry"] == {"maxAttempts": 5, "backoffSeconds": 1, "maxBackoffSeconds": 300}
    assert spec["scaling"] == {
        "mode": "Auto",
        "minReplicas": 0,
        "maxReplicas": 10,
        "targets": {},
        "scaleUp": {"stabilizationSeconds": 0},
        "scaleDown": {"protectBusy": False},
        "onQueueFailure": "Hold",
    }
    assert spec["worker"] == {"concurrency": 4, "batchSize": 200, "drainSeconds": 60}
    assert spec["database"] == {"urlSecretKeyRef": REFERENCE, "holdSeconds": 60, "ledgerRetentionDays": 7}
    assert spec["ingest"][0]["tables"][0] == {**TABLE, "onConflict": "Fail", "id": "id"}


def test_the_protocol_never_changes(namespace):
    namespace.apply(manifest(SCALER))
    namespace.apply(manifest(changed(SCALER, {"queue.protocol": "RQ", "queue.names": ["a", "b"]})))
    with pytest.raises(
        kube.Failed, match=r"spec\.queue\.protocol: .*protocol is immutable: make a new JobQueue instead"
    ):
        namespace.patch({"spec": {"queue": {"protocol": "List"}}}, "q")


REPLICAS_RULE = r"spec.replicas: .*replicas can be changed in scaling.mode: Manual only"


@pytest.mark.parametrize("mode", ["Auto", "Paused"])
def test_replicas_are_fixed_unless_manual(namespace, mode):
    namespace.apply(manifest(changed(SCALER, {"scaling.mode": mode, "replicas": 2})))
    with pytest.raises(kube.Failed, match=REPLICAS_RULE):
        namespace.patch({"spec": {"replicas": 3}}, "q")
    with pytest.raises(kube.Failed, match=REPLICAS_RULE):
        namespace.kubectl("scale", "jobqueue/q", "--replicas=3")
    assert namespace.queue("q")["spec"]["replicas"] == 2
    namespace.patch({"spec": {"scaling": {"mode": "Manual"}, "replicas": 3}}, "q")
    namespace.patch({"spec": {"scaling": {"mode": mode}}}, "q")
    assert namespace.queue("q")["spec"]["replicas"] == 3
    namespace.patch({"spec": {"replicas": None}}, "q")
    assert namespace.queue("q")["spec"]["replicas"] == 1, "a manifest that no longer has the field"


@pytest.mark.parametrize("server_side", [False, True], ids=["client-side", "server-side"])
@pytest.mark.parametrize("mode", ["Auto", "Paused"])
def test_a_manifest_comes_back_after_manual_mode(namespace, mode, server_side):
    """As a GitOps tool does it: the whole manifest in one apply, whatever a person changed meanwhile."""

    def synchronise(changes):
        namespace.cluster.apply(
            manifest(changed(SCALER, changes)), namespace=namespace.name, server_side=server_side, force=server_side
        )
        return namespace.queue("q")["spec"]

    in_git = {"scaling.mode": mode, "replicas": 2}
    synchronise(in_git)
    namespace.patch({"spec": {"scaling": {"mode": "Manual"}}}, "q")
    namespace.kubectl("scale", "jobqueue/q", "--replicas=5")
    spec = synchronise(in_git)
    assert (spec["scaling"]["mode"], spec["replicas"]) == (mode, 2)
    # Out of Manual in one commit, and the number that is used no more out of the manifest in the next.
    synchronise({"scaling.mode": "Manual", "replicas": 4})
    assert synchronise({"scaling.mode": mode, "replicas": 4})["replicas"] == 4
    assert synchronise({"scaling.mode": mode})["replicas"] == 1
    # Back again, with another number.
    assert synchronise({"scaling.mode": "Manual", "replicas": 3})["replicas"] == 3


def test_scale_subresource_in_manual_mode(namespace):
    manual = manifest(changed(SCALER, {"scaling.mode": "Manual"}))
    namespace.apply(manual)
    namespace.kubectl("scale", "jobqueue/q", "--replicas=3")
    namespace.kubectl("scale", "jobq/q", "--replicas=4", "--current-replicas=3")
    scale = namespace.cluster.raw(f"{kube.GROUP}/namespaces/{namespace.name}/jobqueues/q/scale")
    assert scale["spec"]["replicas"] == 4
    namespace.apply(manual)
    assert namespace.queue("q")["spec"]["replicas"] == 4, "applying the manifest again leaves what `kubectl scale` set"
    with pytest.raises(kube.Failed, match=r"spec\.replicas"):
        namespace.kubectl("scale", "jobqueue/q", "--replicas=10001")


def test_the_companies_example_is_accepted(scratch_namespace):
    for manifest_file in (
        ROOT / "examples" / "companies" / "jobqueue.yaml",
        ROOT / "crds" / "tests" / "companies.yaml",
    ):
        scratch_namespace.kubectl("apply", "--dry-run=server", "-f", str(manifest_file))


def headers(text):
    return text.splitlines()[0].split()


def test_columns_and_names(namespace):
    namespace.apply(manifest(SCALER))
    narrow = ["NAME", "READY", "MODE", "WORKERS", "DESIRED", "WAITING", "RUNNING", "OLDEST", "REASON", "AGE"]
    assert headers(namespace.kubectl("get", "jobq")) == narrow
    assert headers(namespace.kubectl("get", "jobqueues", "-o", "wide")) == [
        *narrow[:-1],
        "FAILED",
        "ETA",
        "LIMITED",
        "IMAGE",
        "AGE",
    ]
    assert "jobqueue.jobqueue.dev/q" in namespace.kubectl("get", "jobqueue", "-o", "name")
    listed = namespace.cluster.kubectl("api-resources", "--categories=jobqueue", "--no-headers")
    assert listed.split()[:2] == ["jobqueues", "jobq"]


def test_columns_show_the_status(namespace):
    """An operator may be at work on the same object, so the status is written until it is seen."""
    namespace.apply(manifest(changed(SCALER, {"worker.image": "example/worker:1"})))
    condition = {"status": "True", "message": "", "lastTransitionTime": "2024-05-06T07:08:09Z"}
    status = {
        "readyReplicas": 2,
        "desiredReplicas": 3,
        "queue": {"waiting": 8400, "running": 12, "failed": 7, "oldestWaitSeconds": 41, "drainEtaSeconds": 40},
        "conditions": [
            {**condition, "type": "Ready", "reason": "AsSpecified"},
            {**condition, "type": "ScalingLimited", "reason": "MaxReplicas"},
        ],
    }

    def shown():
        namespace.patch({"status": status}, "q", subresource="status")
        cells = namespace.kubectl("get", "jobq", "q", "-o", "wide", "--no-headers").split()
        return cells[:-1] == [
            "q",
            "True",
            "Auto",
            "2",
            "3",
            "8400",
            "12",
            "41",
            "AsSpecified",
            "7",
            "40",
            "MaxReplicas",
            "example/worker:1",
        ]

    kube.until(shown, lambda: namespace.kubectl("get", "jobq", "q", "-o", "wide"), seconds=10)


def test_before_an_operator_has_looked(scratch_namespace):
    """No tool may take a queue for ready that nobody has looked at."""
    shown = json.loads(
        scratch_namespace.kubectl(
            "create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(manifest(SCALER))
        )
    )
    assert [(each["type"], each["status"], each["reason"]) for each in shown["status"]["conditions"]] == [
        ("Ready", "Unknown", "Pending")
    ]


def test_status_is_written_through_its_subresource_only(namespace):
    namespace.apply({**manifest(SCALER), "status": {"selector": "made=up"}})
    assert "made=up" not in json.dumps(namespace.queue("q").get("status", {}))


def test_explain_reads_well(cluster):
    def explained(path):
        return cluster.kubectl("explain", path)

    scaling = explained("jobqueue.spec.scaling")
    assert "How many workers there should be." in scaling
    for field, words in {
        "mode": "Auto: the backlog decides.",
        "minReplicas": "0: none while there is nothing to do.",
        "maxReplicas": "The most workers.",
        "idleSeconds": "How long the queue must be empty",
        "targets": "the largest answer wins",
        "scaleDown": "Limits on shrinking.",
        "onQueueFailure": "Hold keeps the number of workers",
    }.items():
        shown = re.search(rf"^  {field}\t<(.*?)>.*?(?=^  \w+\t<|\Z)", scaling, re.M | re.S)
        assert shown and words in re.sub(r"\s+", " ", shown[0]), f"{field}:\n{scaling}"
    everything = cluster.kubectl("explain", "jobqueue", "--recursive")
    assert "urlSecretKeyRef" in everything and "stabilizationSeconds" in everything
    for path in (
        "jobqueue",
        "jobqueue.spec",
        "jobqueue.spec.queue",
        "jobqueue.spec.worker",
        "jobqueue.status",
        "jobqueue.status.queue",
        "jobqueue.spec.ingest.tables.children",
    ):
        assert "<no description>" not in explained(path), path


def test_small_enough_for_client_side_apply(cluster):
    """`kubectl apply` keeps the object in an annotation, and those may have 256 KiB altogether."""
    assert len(json.dumps(DEFINITION)) < 128 * 1024
    said = cluster.kubectl(
        "apply", "--dry-run=server", "--force-conflicts=false", "-f", str(ROOT / "crds" / "jobqueue.yaml")
    )
    assert "jobqueues.jobqueue.dev" in said
