"""The example without a recipe: Python's own rq workers come with the backlog, finish their jobs, and go."""

import pytest
import yaml
from rq import Queue, Worker
from rq.job import Job

from e2e.harness import ROOT
from e2e.harness.kube import conditions, replicas
from e2e.harness.manifests import merged
from e2e.harness.waiting import until

EXAMPLE = ROOT / "examples" / "python-rq"


@pytest.fixture
def mails(namespace, operator, redis_server, python_image_on_nodes):
    """Applies the example's JobQueue, with `spec` merged over its own."""
    namespace.secret("mail-redis", url=redis_server.url)

    def apply(**spec):
        manifest = yaml.safe_load((EXAMPLE / "jobqueue.yaml").read_text(encoding="utf-8"))
        manifest["spec"] = merged(
            manifest["spec"], merged(spec, {"worker": merged(spec.get("worker", {}), {"image": python_image_on_nodes})})
        )
        namespace.apply(manifest)

    return apply


@pytest.mark.takes(25)
def test_rq_workers_come_and_go(namespace, redis, mails, measure):
    mails()
    namespace.reaches("Ready", "True", "Idle", name="mails")
    assert conditions(namespace.queue("mails"))["DatabaseReachable"]["reason"] == "NotApplicable"
    queue = Queue("mails", connection=redis)
    jobs = [queue.enqueue("tasks.send", f"user{number}@example.com") for number in range(40)]
    with namespace.cluster.watch("deployments", namespace.name, "mails-worker") as watch:
        namespace.scales(3, name="mails", within=5)
        until(
            lambda: len(queue.finished_job_registry) == len(jobs),
            lambda: f"{len(queue.finished_job_registry)} finished\n{namespace.conditions_text('mails')}",
            90,
            0.1,
        )
        namespace.scales(0, name="mails", within=60)
        until(lambda: not namespace.pods("mails"), "no pod is left", 60, 0.1)
        assert watch.values(replicas)[-1] == 0
    assert len(queue.failed_job_registry) == 0
    assert Job.fetch(jobs[7].id, connection=redis).return_value() == "sent to user7@example.com"
    measure(jobs=len(jobs), steps="-".join(map(str, watch.values(replicas))))


@pytest.mark.takes(60)
def test_long_jobs_are_never_cut(namespace, redis, mails):
    """The grace period is shorter than a job: whoever were removed in the middle of one would lose it."""
    mails(
        worker={"drainSeconds": 1},
        scaling={
            "minReplicas": 4,
            "maxReplicas": 4,
            "idleSeconds": 0,
            "targets": {"jobsPerWorker": 10},
            "scaleDown": {"protectBusy": True, "stabilizationSeconds": 0},
        },
    )
    queue = Queue("mails", connection=redis)
    jobs = []
    for _ in range(2):
        namespace.runs(4, name="mails")
        until(lambda: len(Worker.all(queue=queue)) == 4, "four workers listen", 60, 0.1)
        jobs += [queue.enqueue("time.sleep", seconds) for seconds in (20, 21, 22)]
        until(lambda: len(queue.started_job_registry) == 3, "three work", 30, 0.05)
        namespace.patch({"spec": {"scaling": {"minReplicas": 0, "maxReplicas": 1}}}, name="mails")
        namespace.scales(3, name="mails", within=18)
        until(
            lambda: (
                "busy workers are protected: 3, otherwise 1"
                in conditions(namespace.queue("mails"))["ScaledToTarget"]["message"]
            ),
            lambda: namespace.conditions_text("mails"),
            18,
            0.1,
        )
        namespace.scales(0, name="mails", within=60)
        until(lambda: not namespace.pods("mails"), "no pod is left", 60, 0.1)
        assert len(queue.finished_job_registry) == len(jobs) and len(queue.failed_job_registry) == 0
        namespace.patch({"spec": {"scaling": {"minReplicas": 4, "maxReplicas": 4}}}, name="mails")


def test_jobs_that_have_not_ended_tell_how_long_they_take(namespace, redis, mails):
    """Jobs that run and have not ended tell how long they take: the workers that it takes come before the first has
    ended."""
    mails(scaling={"maxReplicas": 4, "targets": {"jobsPerWorker": None, "drainSeconds": 1}})
    queue = Queue("mails", connection=redis)
    for _ in range(20):
        queue.enqueue("time.sleep", 3)
    # One worker tells; the others come while its first jobs run.
    namespace.scales(4, name="mails", within=90)
