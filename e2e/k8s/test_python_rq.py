"""The example without a recipe: Python's own rq workers come with the backlog, finish their jobs, and go."""
import os
import subprocess

import pytest
import yaml
from rq import Queue
from rq.job import Job

from conftest import ROOT
from harness import python_image
from harness.kube import conditions, replicas
from harness.waiting import until

EXAMPLE = ROOT / "examples" / "python-rq"


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    """E2E_PYTHON_RQ_IMAGE, or one that is made here, where the cluster is the project's own."""
    given = os.environ.get("E2E_PYTHON_RQ_IMAGE")
    if given:
        return given
    if not os.environ.get("E2E_CLUSTER"):
        pytest.skip("no image of the example: set E2E_PYTHON_RQ_IMAGE")
    directory = python_image.build(tmp_path_factory.mktemp("python-rq"), EXAMPLE / "tasks.py")
    subprocess.run([os.environ["E2E_CLUSTER"], "image", "example/python-rq:1", str(directory)], check=True, timeout=180, capture_output=True)
    return "example/python-rq:1"


def test_rq_workers_come_and_go(namespace, operator, redis_server, redis, image, measure):
    namespace.secret("mail-redis", url=redis_server.url)
    manifest = yaml.safe_load((EXAMPLE / "jobqueue.yaml").read_text(encoding="utf-8"))
    manifest["spec"]["worker"]["image"] = image
    namespace.apply(manifest)
    namespace.reaches("Ready", "True", "Idle", name="mails")
    assert conditions(namespace.queue("mails"))["DatabaseReachable"]["reason"] == "NotApplicable"
    queue = Queue("mails", connection=redis)
    jobs = [queue.enqueue("tasks.send", f"user{number}@example.com") for number in range(40)]
    with namespace.cluster.watch("deployments", namespace.name, "mails-worker") as watch:
        namespace.scales(3, name="mails", within=5)
        until(lambda: len(queue.finished_job_registry) == len(jobs), lambda: f"{len(queue.finished_job_registry)} finished\n{namespace.told('mails')}", 90, 0.1)
        namespace.scales(0, name="mails", within=60)
        until(lambda: not namespace.pods("mails"), "no pod is left", 60, 0.1)
        assert watch.values(replicas)[-1] == 0
    assert len(queue.failed_job_registry) == 0
    assert Job.fetch(jobs[7].id, connection=redis).return_value() == "sent to user7@example.com"
    measure(jobs=len(jobs), steps="-".join(map(str, watch.values(replicas))))
