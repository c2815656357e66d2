"""What GitOps tools make of a JobQueue: kstatus by its own code, and Argo CD by the script of docs/gitops.md."""

import json
import os
import subprocess

import pytest
import yaml

from e2e.harness import ROOT
from e2e.harness.manifests import companies as manifest
from e2e.harness.waiting import until

MODULE = ROOT / "e2e" / "gitops"
KEY = "resource.customizations.health.jobqueue.dev_JobQueue"

# Each state that the operator writes: what kstatus makes of it, and what Argo CD.
STATES = {
    "created": ("InProgress", "Progressing"),
    "before the first poll": ("InProgress", "Progressing"),
    "edited": ("InProgress", "Progressing"),
    "rolling out": ("InProgress", "Progressing"),
    "reconciles fail": ("InProgress", "Progressing"),
    "idle": ("Current", "Healthy"),
    "at work": ("Current", "Healthy"),
    "workers start": ("Current", "Healthy"),
    "limited": ("Current", "Healthy"),
    "jobs fail": ("Current", "Healthy"),
    "paused": ("Current", "Suspended"),
    "redis is down": ("InProgress", "Degraded"),
    "without its Secret": ("Failed", "Degraded"),
    "without its image": ("Failed", "Degraded"),
    "being deleted": ("Terminating", None),  # Argo CD asks no script
}


@pytest.fixture(scope="session")
def verdicts(tmp_path_factory):
    """What both say of objects by name, after `./dev setup` compiled this in seconds."""
    directory = tmp_path_factory.mktemp("gitops")
    command = ["go", "build", "-buildvcs=false", "-trimpath", "-o", str(directory / "health"), "."]
    subprocess.run(command, cwd=MODULE, env={**os.environ, "CGO_ENABLED": "0"}, check=True, timeout=600)
    page = (ROOT / "docs" / "gitops.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block.partition("```")[0]) for block in page.split("```yaml\n")[1:]]
    (script,) = [block["data"][KEY] for block in blocks if KEY in block.get("data", {})]
    (directory / "health.lua").write_text(script, encoding="utf-8")

    def run(objects):
        command = [str(directory / "health"), str(directory / "health.lua")]
        done = subprocess.run(
            command, input=json.dumps(objects), capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_every_state_is_read_right(verdicts):
    objects = json.loads((MODULE / "objects.json").read_text(encoding="utf-8"))
    assert set(objects) == set(STATES)
    said = verdicts(objects)
    for name, (kstatus, argo) in STATES.items():
        found = said[name]
        assert found["kstatus"] == kstatus, f"{name}: {found}"
        assert argo in (None, found["argo"]), f"{name}: {found}"
        assert found["argoMessage"], name


@pytest.mark.usefixtures("operator")
def test_a_queue_of_a_cluster_is_read_right(namespace, redis_server, database, verdicts):
    def becomes(kstatus, argo):
        def poll():
            found = verdicts({"queue": namespace.queue()})["queue"]
            return found if (found["kstatus"], found["argo"]) == (kstatus, argo) else None

        return until(poll, lambda: f"{kstatus} and {argo}\n{namespace.conditions_text()}", 20, 0.5)

    namespace.apply(manifest())
    assert "Secret warehouse does not exist" in becomes("Failed", "Degraded")["argoMessage"]
    namespace.secret("warehouse", redis=redis_server.url, database=database.remote_url)
    becomes("Current", "Healthy")
    namespace.patch({"spec": {"scaling": {"mode": "Paused"}}})
    becomes("Current", "Suspended")
    namespace.patch({"spec": {"scaling": {"mode": "Auto"}}})
    becomes("Current", "Healthy")
    namespace.kubectl("wait", "--for=condition=Ready", "jobqueue/companies", "--timeout=15s")
