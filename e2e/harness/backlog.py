"""How far a queue is, read straight from Redis: cheap enough to ask a hundred times a second."""

import os
from collections import namedtuple

from rq import Worker

Backlog = namedtuple("Backlog", "waiting running scheduled finished failed")


def read(redis, queue="companies"):
    pipe = redis.pipeline(transaction=False)
    pipe.llen(f"rq:queue:{queue}")
    for registry in ("wip", "scheduled", "finished", "failed"):
        pipe.zcard(f"rq:{registry}:{queue}")
    return Backlog(*pipe.execute())


def drained(redis, queue="companies"):
    now = read(redis, queue)
    return now.waiting == now.running == now.scheduled == 0


def unfinished(redis, *queues):
    """What waits or runs, by name, and the keys that a run leaves in Redis; empty when all is quiet."""
    # A second look: what moves from one place to another while it is looked for is in neither.
    return _find_unfinished(redis, *queues) or _find_unfinished(redis, *queues)


def _find_unfinished(redis, *queues):
    found = {}
    for queue in queues or ("companies",):
        now = read(redis, queue)._asdict()
        found |= {f"{what} in {queue}": now[what] for what in ("waiting", "running", "scheduled") if now[what]}
    for pattern in (
        "rq:execution:*",
        "rq:executions:*",
        "rq:jobqueue:aside:*",
        "rq:jobqueue:behind:*",
        "rq:jobqueue:run:*",
    ):
        keys = sorted(redis.scan_iter(pattern, count=10_000))
        if keys:
            found[pattern] = keys
    # The record of one that was killed says what it did last, until it expires.
    alive = [worker for worker in Worker.all(connection=redis) if worker.pid and os.path.exists(f"/proc/{worker.pid}")]
    busy = {worker.name: worker.get_state() for worker in alive if worker.get_state() != "idle"}
    busy |= {key: members for key in redis.scan_iter("rq:worker:*:executions") if (members := redis.smembers(key))}
    return found | busy
