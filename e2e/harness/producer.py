"""A fast RQ producer: the records of `Queue.enqueue`, many in one pipeline, with ids and times of our choice.

The same call twice writes the same jobs, which is how a redelivery of everything is staged.
"""

import pickle
import uuid
import zlib

from rq.job import Job
from rq.serializers import DefaultSerializer

from .companies import FUNCTION

CREATED = "2024-05-06T07:08:09.{:06}Z"
NAMESPACE = uuid.UUID("7f3f0b1e-6a39-4ad5-9f5e-0c5b6f6f7a10")


def job_id(number, run=0):
    return str(uuid.uuid5(NAMESPACE, f"{run}/{number}"))


def call(function, *args, **kwargs):
    """The `data` field of a call."""
    return zlib.compress(pickle.dumps((function, None, args, kwargs), protocol=pickle.HIGHEST_PROTOCOL))


class Producer:
    """Writes jobs for one queue as rq would."""

    def __init__(self, redis, queue="companies", chunk=1000):
        self.redis, self.queue, self.chunk = redis, queue, chunk
        template = Job.create(
            FUNCTION, args=("",), origin=queue, timeout=180, connection=redis, serializer=DefaultSerializer
        )
        self.fields = {
            **template.to_dict(include_meta=False),
            "status": "queued",
            "origin": queue,
            "timeout": 180,
            "description": f"{FUNCTION}('...')",
        }

    def enqueue(self, lines, first=0, run=0, **fields):
        """One job for each line; `fields` are added to every record. Returns the ids."""
        return self.enqueue_data([call(FUNCTION, line) for line in lines], first, run, **fields)

    def enqueue_data(self, payloads, first=0, run=0, **fields):
        ids = [job_id(first + number, run) for number in range(len(payloads))]
        self.redis.sadd("rq:queues", f"rq:queue:{self.queue}")
        for start in range(0, len(ids), self.chunk):
            pipe = self.redis.pipeline(transaction=False)
            for number in range(start, min(start + self.chunk, len(ids))):
                created = CREATED.format((first + number) % 1_000_000)
                pipe.hset(
                    f"rq:job:{ids[number]}",
                    mapping={
                        **self.fields,
                        "data": payloads[number],
                        "created_at": created,
                        "enqueued_at": created,
                        **fields,
                    },
                )
            pipe.rpush(f"rq:queue:{self.queue}", *ids[start : start + self.chunk])
            pipe.execute()
        return ids
