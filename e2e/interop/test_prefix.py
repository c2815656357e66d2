"""rq 3.0's `RQ_KEY_PREFIX`: producer, reader and worker under another prefix than `rq`."""

import os
import subprocess
import sys

import pytest

from e2e.harness.companies import FUNCTION, Expected
from e2e.harness.waiting import until
from e2e.harness.workers import JobQueueWorker

pytestmark = [pytest.mark.rq3, pytest.mark.ours]

PRODUCER = f"""
import sys
from redis import Redis
from rq import Queue
print(Queue("companies", connection=Redis.from_url(sys.argv[1])).enqueue("{FUNCTION}", sys.argv[2]).id)
"""
READER = """
import sys
from redis import Redis
from rq.job import Job
print(Job.fetch(sys.argv[2], connection=Redis.from_url(sys.argv[1])).get_status().value)
"""


def under_prefix(prefix, script, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "RQ_KEY_PREFIX": prefix},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("prefix", ["team-a", "{rq}"])
def test_another_prefix(prefix, redis, redis_server, database, tmp_path, lines):
    worker = JobQueueWorker(tmp_path, redis_server.url, database.url, queue={"keyPrefix": prefix})
    try:
        job = under_prefix(prefix, PRODUCER, redis_server.url, lines[0])
        assert redis.exists(f"{prefix}:job:{job}")
        until(lambda: under_prefix(prefix, READER, redis_server.url, job) == "finished", worker.output)
        assert database.companies() == Expected(lines[:1]).rows
        assert not redis.keys("rq:*")
    finally:
        worker.stop()
