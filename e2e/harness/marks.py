"""Each job has a mark, and its whole effect is one row with that mark: what became of every job can be told.

`Feeder` enqueues and remembers which server acknowledged what; `holdings` is what a server knows of; `Account`
compares both with the rows.
"""

import json
import re
import subprocess
import threading
import time
from collections import Counter
from contextlib import contextmanager

from redis import Redis
from redis.exceptions import RedisError
from rq.job import Job

from .databases import Sqlite
from .producer import call
from .workers import binary

PROTOCOLS = ("RQ", "List", "Stream")
KEY = "marks"
RECIPE = [{"tables": [{"table": "effects", "columns": {"mark": "record.mark"}}]}]
MARK = re.compile(rb"m\d{6}m")
FUNCTION = "marks.apply"


class Effects(Sqlite):
    """The rows; not those of the example."""

    def create_tables(self):
        self.execute("CREATE TABLE effects (id INTEGER PRIMARY KEY, mark TEXT NOT NULL)")

    def __init__(self, directory):
        super().__init__(directory)
        self.create_tables()

    @contextmanager
    def held(self):
        """Nobody writes meanwhile: jobs wait, and some are claimed."""
        connection = self.connect()
        connection.isolation_level = None
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")
            connection.close()

    def count(self):
        return self.query("SELECT count(*) FROM effects")[0][0]

    def marks(self):
        """How many rows each mark has."""
        return Counter(mark.encode() for (mark,) in self.query("SELECT mark FROM effects"))


def mark(number):
    return b"m%06dm" % number


def settings(protocol, prefix="rq", **changes):
    """Of a `JobQueueWorker` on the marks: small batches, so that many are in flight, and leases that lapse soon."""
    queue = {"protocol": protocol, "names": [KEY], "keyPrefix": prefix, "leaseSeconds": 2}
    return {
        "ingest": RECIPE,
        "queue": queue,
        "worker": {"batchSize": 10, "concurrency": 2},
        "retry": {"maxAttempts": 100},
        **changes,
    }


def enqueue(redis, protocol, marks, prefix="rq", transaction=True):
    """As producers do: one transaction for RQ (or one command after the other), one command for lists and streams."""
    records = [json.dumps({"mark": each.decode()}) for each in marks]
    if protocol == "List":
        return redis.rpush(KEY, *records)
    pipe = redis.pipeline(transaction=True) if transaction else redis
    if protocol == "Stream":
        for record in records:
            pipe.xadd(KEY, {"record": record})
        return transaction and pipe.execute()
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() // 1000 % 1_000_000:06}Z"
    template = Job.create(FUNCTION, args=("",), origin=KEY, timeout=180, connection=Redis())
    fields = {
        **template.to_dict(include_meta=False),
        "status": "queued",
        "origin": KEY,
        "timeout": 180,
        "created_at": now,
        "enqueued_at": now,
    }
    pipe.sadd(f"{prefix}:queues", f"{prefix}:queue:{KEY}")
    for each, record in zip(marks, records, strict=True):
        pipe.hset(
            f"{prefix}:job:{each.decode()}", mapping={**fields, "description": each, "data": call(FUNCTION, record)}
        )
        pipe.rpush(f"{prefix}:queue:{KEY}", each)
    return transaction and pipe.execute()


class Feeder:
    """Enqueues one job after the other until it is told to stop, at whichever server `where()` says.

    `acknowledged` has the port of the server, the time, and (with `wait`, for so many of them) how many replicas have
    it, by mark; `doubtful` are those whose answer did not come within `patience` seconds (None: however long it
    takes).
    """

    def __init__(self, where, protocol, wait=0, patience=2):
        self.where, self.protocol, self.wait, self.patience, self.next = where, protocol, wait, patience, 0
        self.acknowledged, self.doubtful, self.refused = {}, set(), 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def _feed(self):
        client = None
        while not self._over.wait(0.004):
            each, self.next = mark(self.next), self.next + 1
            try:
                if client is None:
                    node = self.where()
                    client = Redis(port=node.port, socket_timeout=self.patience, retry=None)
                enqueue(client, self.protocol, [each])
                at = time.monotonic()
                have = client.execute_command("WAIT", self.wait, 1000) if self.wait else 0
                self.acknowledged[each] = (node.port, at, have)
            except RedisError as error:
                if "READONLY" in str(error) or "NOREPLICAS" in str(error):
                    self.refused += 1
                else:
                    self.doubtful.add(each)
                client = None

    def stop(self):
        self._over.set()
        self._thread.join()


def holdings(redis):
    """The marks that any key of this server has in its name or value; finished RQ jobs count until they expire."""
    keys = list(redis.scan_iter("*", count=10_000))
    types = _each(redis, keys, lambda pipe, key: pipe.type(key))
    read = {
        b"string": lambda pipe, key: pipe.get(key),
        b"hash": lambda pipe, key: pipe.hgetall(key),
        b"list": lambda pipe, key: pipe.lrange(key, 0, -1),
        b"set": lambda pipe, key: pipe.smembers(key),
        b"zset": lambda pipe, key: pipe.zrange(key, 0, -1),
        b"stream": lambda pipe, key: pipe.xrange(key),
    }
    known = [(key, kind) for key, kind in zip(keys, types, strict=True) if kind in read]
    values = _each(redis, known, lambda pipe, item: read[item[1]](pipe, item[0]))
    return {
        found
        for text in (*keys, *map(repr, values))
        for found in MARK.findall(text if isinstance(text, bytes) else text.encode())
    }


def _each(redis, items, ask):
    pipe = redis.pipeline(transaction=False)
    for item in items:
        ask(pipe, item)
    return pipe.execute(raise_on_error=False)


class Promotions:
    """Watches every few milliseconds which nodes are masters, and what each holds when it becomes one."""

    def __init__(self, nodes):
        self.nodes, self.seen = nodes, []  # (port, time, holdings)
        self._roles = {node.port: self._role(node) for node in nodes}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @staticmethod
    def _role(node):
        try:
            return node.client(socket_timeout=0.3, retry=None).execute_command("ROLE")[0]
        except RedisError:
            return None

    def _watch(self):
        while not self._over.wait(0.01):
            for node in self.nodes:
                role = self._role(node)
                if role == b"master" and self._roles[node.port] == b"slave":
                    at = time.monotonic()
                    self.seen.append((node.port, at, holdings(node.client())))
                if role:
                    self._roles[node.port] = role

    def stop(self):
        self._over.set()
        self._thread.join()


def status(url, protocol, prefix="rq"):
    """Waiting, running, scheduled and failed jobs and workers as `jobqueue status` shows them; None where it fails."""
    done = subprocess.run(
        [
            binary("jobqueue"),
            "--redis",
            url,
            "--protocol",
            protocol.lower(),
            "--queue",
            KEY,
            "--key-prefix",
            prefix,
            "-o",
            "json",
            "status",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        return None
    shown = json.loads(done.stdout)
    return {**shown["queues"][0], "workers": len(shown["workers"])}


def workers_are_registered(url, protocol, number, prefix="rq"):
    return (status(url, protocol, prefix) or {}).get("workers", 0) >= number


def drained(url, protocol, prefix="rq"):
    now = status(url, protocol, prefix)
    return bool(now) and now["waiting"] == now["running"] == now["scheduled"] == 0


def account(acknowledged, rows, held, kept=(), since=None):
    """What became of the acknowledged marks. `held`: those that the server knows of in the end; `kept`: those that it
    knew of when it became master, or was restored; `since`: its port and when that was."""
    counts = {"applied": 0, "doubled": 0, "forgotten": 0, "stranded": 0}
    names = {"doubled": [], "stranded": []}
    for each, (port, at, _) in acknowledged.items():
        if rows[each]:
            kind = "applied" if rows[each] == 1 else "doubled"
        elif each in held or each in kept or (since and port == since[0] and at > since[1]):
            kind = "stranded"  # this server had it, or has it still, and it was not done: ours
        else:
            kind = "forgotten"  # the server that is there now never had it
        counts[kind] += 1
        if kind in names:
            names[kind].append(each)
    return counts, {kind: sorted(marks)[:10] for kind, marks in names.items() if marks}
