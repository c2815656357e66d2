"""Redis accounts that lack a right: nothing leaves the list, no status changes, and the log names what is missing."""

import subprocess

import pytest
from rq import Queue
from rq.job import Job, JobStatus

from e2e.harness.companies import FUNCTION
from e2e.harness.waiting import until
from e2e.harness.workers import JobQueueWorker, binary

pytestmark = pytest.mark.ours

# By categories: more than is needed, and easily cut.
DOCUMENTED = "~rq:* resetchannels &rq:pubsub:* +@read +@write +@scripting +@pubsub +@connection +time +info +config|get"
KEYS = (
    "queue",
    "job:",
    "execution",
    "wip",
    "finished",
    "failed",
    "scheduled",
    "worker",
    "results",
    "suspended",
    "jobqueue",
    "scheduler-lock",
    "groups",
    "rl-keys",
)


def all_keys_but(*missing):
    # Patterns of their own for what begins with the same word.
    return DOCUMENTED.replace("~rq:*", " ".join(f"~rq:{key}*" for key in KEYS if key not in missing))


LACKING = {
    "scripts": (DOCUMENTED.replace("+@scripting", ""), "eval"),
    "writing": (DOCUMENTED.replace("+@write", ""), ""),
    "the channel": (DOCUMENTED.replace("&rq:pubsub:*", ""), "channel"),
    "the clock": (DOCUMENTED.replace("+time", ""), "time"),
    "ZADD": (f"{DOCUMENTED} -zadd", "zadd"),
    "LPOP": (f"{DOCUMENTED} -lpop", "lpop"),
    "HSET": (f"{DOCUMENTED} -hset", "hset"),
    "XADD": (f"{DOCUMENTED} -xadd", "xadd"),
    "PERSIST": (f"{DOCUMENTED} -persist", "persist"),
    "executions": (all_keys_but("execution"), "rq:execution"),
    "the started registry": (all_keys_but("wip"), "rq:wip"),
    "the failed registry": (all_keys_but("failed"), "rq:failed"),
    "results": (all_keys_but("results"), "rq:results"),
    "our own keys": (all_keys_but("jobqueue"), "rq:jobqueue"),
}


@pytest.fixture
def account(redis, redis_server, database, tmp_path):
    """Starts a worker with a login of these rights."""
    started = []

    def grant(rules):
        redis.execute_command("ACL", "SETUSER", "worker", "reset", "on", ">secret", *rules.split())

    def start(rules):
        grant(rules)
        url = redis_server.url.replace("redis://", "redis://worker:secret@")
        started.append(JobQueueWorker(tmp_path, url, database.url))
        return started[-1]

    start.grant = grant
    yield start
    for worker in started:
        worker.stop(seconds=15)
    redis.execute_command("ACL", "DELUSER", "worker")


def enqueue(queue, lines):
    return queue.enqueue_many([Queue.prepare_data(FUNCTION, args=(line,)) for line in lines])


def all_have(redis, jobs, status):
    return all(
        job and job.get_status(refresh=False) == status
        for job in Job.fetch_many([job.id for job in jobs], connection=redis)
    )


@pytest.mark.parametrize("lacking", LACKING)
def test_takes_nothing(lacking, account, queue, redis, written, lines):
    rules, named = LACKING[lacking]
    jobs = enqueue(queue, [*lines[:5], lines[5][:60]])
    ids = queue.get_job_ids()
    worker = account(rules)
    until(
        lambda: "WARN" in worker.output() or "ERROR" in worker.output() or not worker.alive(),
        lambda: f"it says what is missing\n{worker.output()}",
    )
    tries = redis.info("stats")["total_commands_processed"] + 30
    until(
        lambda: redis.info("stats")["total_commands_processed"] > tries or not worker.alive(), "it tries again, or ends"
    )
    said = worker.output().lower()
    assert "noperm" in said or "denied" in said or "refused" in said or "permission" in said, said
    assert named.lower() in said, said
    assert queue.get_job_ids() == ids
    assert all_have(redis, jobs, JobStatus.QUEUED)
    assert (
        redis.zcard("rq:wip:companies")
        == redis.zcard("rq:failed:companies")
        == redis.zcard("rq:finished:companies")
        == 0
    )
    if worker.alive():
        # Whoever is given the right goes on without a restart.
        account.grant(DOCUMENTED)
        written(lines[:5])
        until(
            lambda: queue.failed_job_registry.get_job_ids() == [jobs[5].id],
            lambda: f"the last fails\n{worker.output()}",
        )


def printed(*arguments):
    """The rules that `jobqueue acl` prints."""
    command = [binary("jobqueue"), "acl", "--queue", "companies", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.split(">PASSWORD", 1)[1]


@pytest.fixture
def ask(redis_server):
    """Runs a command with the account's login; its exit code and what it said."""

    def run(*arguments, **more):
        url = redis_server.url.replace("redis://", "redis://worker:secret@")
        command = [binary("jobqueue"), *arguments, "--redis", url, "--queue", "companies"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
        return done.returncode, done.stdout + done.stderr

    return run


def test_the_printed_account_serves_workers_and_commands(account, ask, queue, redis, written, lines):
    jobs = enqueue(queue, [*lines[:4], lines[5][:60], lines[5][:70]])
    worker = account(printed())
    until(
        lambda: all_have(redis, jobs[:4], JobStatus.FINISHED) and all_have(redis, jobs[4:], JobStatus.FAILED),
        worker.output,
    )
    assert ask("enqueue", "--function", FUNCTION, "-", input=lines[4] + "\n")[0] == 0
    written(lines[:5])
    for command in [
        ("status",),
        ("failed", "list"),
        ("failed", "show", jobs[4].id),
        ("failed", "requeue", "--id", jobs[4].id),
        ("failed", "purge", "--all", "--yes"),
    ]:
        code, said = ask(*command)
        assert code == 0, (command, said)
    assert "there is no job no-such-job" in ask("stop", "no-such-job")[1]
    assert "NOPERM" not in worker.output()


def test_the_printed_account_of_who_only_looks(account, ask, queue, lines):
    account.grant(printed("--for", "operator"))
    enqueue(queue, lines[:2])
    code, said = ask("status")
    assert code == 0 and "companies" in said, said
    assert ask("failed", "purge", "--all", "--yes")[0] != 0
    assert queue.count == 2


@pytest.mark.parametrize("lost", ["zadd", "xadd", "hset", "del"])
def test_a_right_taken_away_during_a_run(lost, account, queue, redis, lock, written, quiet, lines):
    """A running job is kept until its outcome can be recorded; nothing is done twice."""
    held = lock()
    held.execute("ROLLBACK")
    worker = account(DOCUMENTED)
    until(lambda: "at work" in worker.output(), worker.output)
    held.execute("BEGIN IMMEDIATE")
    job = queue.enqueue(FUNCTION, lines[0])
    until(lambda: job.get_status(refresh=True) == JobStatus.STARTED, worker.output)
    account.grant(f"{DOCUMENTED} -{lost}")
    waiting = queue.enqueue(FUNCTION, lines[1])
    held.execute("ROLLBACK")
    until(lambda: "WARN" in worker.output(), worker.output)
    account.grant(DOCUMENTED)
    until(
        lambda: all_have(redis, [job, waiting], JobStatus.FINISHED),
        lambda: f"{job.get_status(refresh=True)}, {waiting.get_status(refresh=True)}\n{worker.output()}",
        60,
    )
    written(lines[:2])
    quiet()
