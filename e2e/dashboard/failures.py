"""Failed jobs in Redis as rq leaves them, thousands at a time."""

import base64
import pickle
import time
import zlib
from datetime import UTC, datetime

FUNCTION = "ParseCompany.parse_company"
# Seconds that rq keeps a failed job.
KEPT = 365 * 24 * 3600


def _moment(seconds):
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def fail(redis, queue, jobs, function=FUNCTION, chunk=5000):
    """Each of `jobs` is (id, record, error, seconds ago)."""
    redis.sadd("rq:queues", f"rq:queue:{queue}")
    now = time.time()
    pipeline, waiting = redis.pipeline(transaction=False), 0
    for job, record, error, ago in jobs:
        data = zlib.compress(pickle.dumps((function, None, (record,), {}), protocol=5), 1)
        ended = now - ago
        fields = {
            "data": data,
            "origin": queue,
            "description": f"{function}('...')",
            "status": "failed",
            "created_at": _moment(ended - 5),
            "enqueued_at": _moment(ended - 4),
            "ended_at": _moment(ended),
            "worker_name": "worker-1",
        }
        result = {
            "type": 2,
            "exc_string": base64.b64encode(zlib.compress(error.encode(), 1)),
            "worker_name": "worker-1",
        }
        pipeline.hset(f"rq:job:{job}", mapping=fields)
        pipeline.xadd(f"rq:results:{job}", result)
        pipeline.zadd(f"rq:failed:{queue}", {job: ended + KEPT})
        waiting += 1
        if waiting == chunk:
            pipeline.execute()
            waiting = 0
    pipeline.execute()


def wait(redis, queue, count, first=0):
    """Jobs that wait on a queue, the oldest of them for some seconds."""
    redis.sadd("rq:queues", f"rq:queue:{queue}")
    pipeline = redis.pipeline(transaction=False)
    for number in range(first, first + count):
        data = zlib.compress(pickle.dumps((FUNCTION, None, ("{}",), {}), protocol=5), 1)
        job = f"{queue}-waits-{number}"
        pipeline.hset(
            f"rq:job:{job}", mapping={"data": data, "origin": queue, "enqueued_at": _moment(time.time() - 40)}
        )
        pipeline.rpush(f"rq:queue:{queue}", job)
    pipeline.execute()


def work(redis, queue, name="worker-1", job=None):
    """A worker of rq that has a job in hand."""
    now = time.time()
    fields = {
        "birth": _moment(now - 300),
        "last_heartbeat": _moment(now),
        "state": "busy" if job else "idle",
        "hostname": f"host-of-{name}",
        "successful_job_count": 1234,
        "failed_job_count": 5,
        "total_working_time": 200.5,
        "current_job_working_time": 12.5,
    }
    if job:
        fields["current_job"] = job
        redis.sadd(f"rq:worker:{name}:executions", f"{job}:1")
    redis.hset(f"rq:worker:{name}", mapping=fields)
    redis.sadd(f"rq:workers:{queue}", f"rq:worker:{name}")
