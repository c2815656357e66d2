"""The same kills where ids alone do not tell runs apart.

Two groups of one stream, two servers with the same ids, ids that are used again, failed jobs that are requeued. The
tests read the database and Redis, never a worker.
"""

import subprocess
import threading
import time
from collections import Counter

import pytest
from redis.exceptions import RedisError, WatchError
from rq import Queue

from e2e.harness import backlog
from e2e.harness.campaign import Campaign, disturb
from e2e.harness.companies import FUNCTION
from e2e.harness.effects import Effects, record
from e2e.harness.producer import Producer, call, job_id
from e2e.harness.redis_server import RedisServer
from e2e.harness.workers import binary

LEASE = 1
QUEUE = "work"
BAD = "{"  # no JSON, and so no effect


def settings(effects, source, protocol="RQ", **queue):
    """A worker's config for one queue; what it writes is marked with `source`."""
    where = {"RQ": "job.args[0]", "List": "job.args[0]", "Stream": "job.fields.record"}[protocol]
    return {
        "queue": {"protocol": protocol, "names": [QUEUE], "leaseSeconds": LEASE, **queue},
        "ingest": effects.recipe(source, where),
        "retry": {"maxAttempts": 1000, "backoffSeconds": 1, "maxBackoffSeconds": 1},
        "worker": {"batchSize": 10, "concurrency": 2},
    }


def disturbances(kills, servers, database):
    """The database dies with a kill, then each Redis, then the database again: spread over the kills."""
    victims = [lambda: disturb(database), *(server.restart for server in servers), lambda: disturb(database)]
    return {(number + 1) * kills // (len(victims) + 1): victim for number, victim in enumerate(victims)}


def halts(kills):
    """Before which kills a worker is halted: the first, and then every sixth."""
    return range(0, kills, 6)


def doubles(rows):
    return {row: times for row, times in Counter(rows).items() if times > 1}


def compare(rows, expected, measure):
    """Exactly the expected rows, in any order."""
    twice, lost = doubles(rows), set(expected) - set(rows)
    measure(doubles=len(twice), losses=len(lost))
    assert not twice, f"done twice: {twice}"
    assert not lost, f"lost: {sorted(lost)[:20]}"
    assert not set(rows) - set(expected)


class Entries:
    """One stream, seen by one of its groups."""

    def __init__(self, redis, group):
        self.redis, self.group = redis, group

    def over(self):
        """Entries that the group is done with, the failed ones too; None while Redis is away."""
        try:
            [group] = [each for each in self.redis.xinfo_groups(QUEUE) if each["name"] == self.group.encode()]
        except RedisError:
            return None
        # `entries-read` says the same, but a Redis that was restarted does not always know it. Ids are 1-1, 1-2 and so
        # on.
        return int(group["last-delivered-id"].split(b"-")[1]) - group["pending"]

    def failed(self):
        return {member.decode() for member in self.redis.zrange(f"jobqueue:{{{QUEUE}}}:{self.group}:failed", 0, -1)}

    def at_rest(self):
        kept = f"jobqueue:{{{QUEUE}}}:{self.group}:"
        return not any(self.redis.exists(kept + part) for part in ("lease", "ready", "scheduled"))


def write_stream(redis, groups, texts):
    """Entry `1-n` is the n-th text, counted from 1."""
    pipe = redis.pipeline(transaction=False)
    for group in groups:
        pipe.xgroup_create(QUEUE, group, "0", mkstream=True)
    for number, text in enumerate(texts, 1):
        pipe.xadd(QUEUE, {"record": text}, id=f"1-{number}")
    pipe.execute()


@pytest.mark.small_on("mariadb")
def test_two_groups_of_one_stream(full, redis_server, redis, database, start_worker, rng, measure):
    count, kills = (8_000, 17) if full else (800, 5)
    good = {number: record(f"e{number}") for number in range(1, count + 1) if number % 50}
    write_stream(redis, ("one", "two"), [good.get(number, BAD) for number in range(1, count + 1)])
    tables = {group: Effects(database, f"effect_{group}") for group in ("one", "two")}
    entries = {group: Entries(redis, group) for group in tables}
    start = time.monotonic()
    starters = [
        lambda group=group: start_worker(**settings(tables[group], group, "Stream", consumerGroup=group))
        for group in tables
    ]
    campaign = Campaign(rng, starters * 2, LEASE)
    campaign.run(
        kills,
        lambda: sum(each.over() or 0 for each in entries.values()) / count / 2,
        disturbances(kills, [redis_server], database),
        halts(kills),
    )
    campaign.end(
        lambda: all(each.over() == count and each.at_rest() for each in entries.values()),
        lambda: f"both groups end: {[each.over() for each in entries.values()]}",
    )
    measure(jobs=2 * count, kills=campaign.kills, zombies=len(campaign.zombies), seconds=time.monotonic() - start)
    for group, effects in tables.items():
        compare(effects.rows(), [(group, f"e{number}", 1) for number in good], measure)
        assert entries[group].failed() == {f"1-{number}" for number in range(1, count + 1) if number not in good}


def left(server):
    """What of the jobs is left on a server that has one queue of each protocol: the number of entries."""
    redis = server.client()
    rq = backlog.read(redis, QUEUE)
    sidecars = [
        redis.exists(f"jobqueue:{{{key}}}{part}:{what}")
        for key, part in (("pile", ""), (QUEUE, ":jobqueue"))
        for what in ("lease", "ready", "scheduled", "failed")
    ]
    waiting = rq.waiting + rq.running + rq.scheduled + rq.failed
    return waiting + redis.llen("pile") + redis.xlen(QUEUE) + sum(sidecars)


@pytest.mark.small_on("postgres")
def test_two_servers_with_the_same_names_and_ids(full, tmp_path, redis_server, database, start_worker, rng, measure):
    """The same ids, times and contents twice: only where they are tells them apart."""
    count, kills = (3_000, 17) if full else (200, 5)
    other = RedisServer(tmp_path / "other", durable=True)
    try:
        servers = {"here": redis_server, "there": other}
        effects = Effects(database)
        pile = {"List": {"names": ["pile"]}}  # a key is a list or a stream
        texts = [record(f"j{number}") for number in range(1, count + 1)]
        for server in servers.values():
            redis = server.client()
            Producer(redis, QUEUE).enqueue_data([call(FUNCTION, text) for text in texts])
            write_stream(redis, ["jobqueue"], texts)
            redis.rpush("pile", *texts)
        kinds = [(place, protocol) for place in servers for protocol in ("RQ", "List", "Stream")]
        start = time.monotonic()
        campaign = Campaign(
            rng,
            [
                lambda place=place, protocol=protocol: start_worker(
                    servers[place], **settings(effects, f"{place} {protocol}", protocol, **pile.get(protocol, {}))
                )
                for place, protocol in kinds
            ],
            LEASE,
        )
        total = count * len(kinds)
        campaign.run(
            kills, lambda: (effects.count() or 0) / total, disturbances(kills, servers.values(), database), halts(kills)
        )

        campaign.end(
            lambda: not any(left(server) for server in servers.values()),
            lambda: f"nothing is left; {effects.count()} of {total}",
        )
        measure(jobs=total, kills=campaign.kills, zombies=len(campaign.zombies), seconds=time.monotonic() - start)
        compare(
            effects.rows(),
            [(f"{place} {protocol}", f"j{number}", 1) for place, protocol in kinds for number in range(1, count + 1)],
            measure,
        )
    finally:
        other.stop()


class ComingBack(threading.Thread):
    """Enqueues versions 1 to n of each id. Patient ids wait until the version before has begun."""

    def __init__(self, redis, rng, ids, patient, versions):
        super().__init__()
        self.redis, self.rng, self.versions = redis, rng, versions
        self.queue = Queue(QUEUE, connection=redis)
        self.last = dict.fromkeys(ids, 0)
        self.patient = set(patient)
        self.begun = set()  # (id, version) that had been begun when the next one was enqueued
        self.over = threading.Event()

    def share(self):
        return sum(self.last.values()) / len(self.last) / self.versions

    def stuck(self):
        """What Redis holds of the ids whose last version is not enqueued yet."""
        return {
            name: {field: value for field, value in self.redis.hgetall(f"rq:job:{name}").items() if field != b"data"}
            for name, last in self.last.items()
            if last < self.versions
        }

    def run(self):
        waiting = list(self.last)
        while waiting and not self.over.is_set():
            name = self.rng.choice(waiting)
            if self._next(name) and self.last[name] == self.versions:
                waiting.remove(name)
            self.over.wait(0.002)  # so that workers come in between

    def _next(self, name):
        """Enqueues the next version; whether it did. The look at the record and the writing are one step."""
        version, begun = self.last[name] + 1, False
        while not self.over.is_set():
            try:
                with self.redis.pipeline() as pipe:
                    pipe.watch(f"rq:job:{name}")
                    status, said = pipe.hmget(f"rq:job:{name}", "status", "description")
                    if said != f"version {version}".encode():  # else it was written when the connection broke
                        begun = status in (b"started", b"finished")
                        if name in self.patient and version > 1 and not begun:
                            return False
                        pipe.multi()
                        self.queue.enqueue(
                            FUNCTION,
                            record(name, version),
                            job_id=name,
                            description=f"version {version}",
                            result_ttl=-1,
                            pipeline=pipe,
                        )
                        pipe.execute()
            except (WatchError, RedisError):
                self.over.wait(0.002)
                continue
            self.last[name] = version
            if begun:
                self.begun.add((name, version - 1))
            return True
        return False


@pytest.mark.small_on("postgres")
def test_ids_that_come_back(full, redis_server, redis, database, start_worker, rng, measure):
    """Every version that began, and the last of each id, runs once and in order; an overwritten one may not run."""
    ids, versions, kills = (60, 60, 17) if full else (30, 12, 5)
    names = [f"id-{number}" for number in range(ids)]
    effects = Effects(database)
    producer = ComingBack(redis_server.client(), rng, names, names[::2], versions)
    start = time.monotonic()
    campaign = Campaign(rng, [lambda: start_worker(**settings(effects, "rq"))] * 3, LEASE)
    producer.start()
    try:
        campaign.run(kills, producer.share, disturbances(kills, [redis_server], database), halts(kills))
        campaign.end(
            lambda: (
                not producer.is_alive()
                and backlog.drained(redis, QUEUE)
                and not redis.exists(f"rq:jobqueue:aside:{QUEUE}")
            ),
            lambda: f"all versions end: {backlog.read(redis, QUEUE)}, {producer.stuck()}",
            seconds=30,
        )
    finally:
        producer.over.set()
        producer.join()
    rows = [row[1:] for row in effects.rows()]
    wanted = producer.begun | {(name, versions) for name in names}
    twice, lost = doubles(rows), wanted - set(rows)
    disorder = [
        (name, found) for name in names if (found := [version for job, version in rows if job == name]) != sorted(found)
    ]
    measure(
        jobs=ids * versions,
        begun=len(producer.begun),
        rows=len(rows),
        kills=campaign.kills,
        zombies=len(campaign.zombies),
        seconds=time.monotonic() - start,
        doubles=len(twice),
        losses=len(lost),
        disorder=len(disorder),
    )
    assert not twice, f"done twice: {twice}"
    assert not lost, f"begun, or the last, and not done: {sorted(lost)[:20]}"
    assert not disorder, f"newer before older: {disorder}"
    assert {(name, version - 1) for name in producer.patient for version in range(2, versions + 1)} <= producer.begun
    assert backlog.read(redis, QUEUE).failed == 0
    assert not list(redis.scan_iter("rq:jobqueue:run:*", count=10_000)), "no run is left aside"
    assert not list(redis.scan_iter("rq:execution*", count=10_000)), "no run is left open"


class Requeuer(threading.Thread):
    """Mends some of the failed jobs, and requeues all of them with our command, which is killed now and then."""

    def __init__(self, server, rng, mended):
        super().__init__()
        self.redis, self.url, self.rng = server.client(), server.url, rng
        self.mended = mended  # id -> the data that can become rows
        self.requeues = 0
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(0.1):
            try:
                self._mend()
            except (WatchError, RedisError):
                continue
            self.requeues += self._requeue()

    def _mend(self):
        """Up to ten, as a person would. Only failed ones: the record of a running job must not be written over."""
        failed = [
            name for name in map(bytes.decode, self.redis.zrange(f"rq:failed:{QUEUE}", 0, -1)) if name in self.mended
        ]
        for name in self.rng.sample(failed, min(10, len(failed))):
            with self.redis.pipeline() as pipe:
                pipe.watch(f"rq:job:{name}")
                if pipe.hget(f"rq:job:{name}", "status") == b"failed":
                    pipe.multi()
                    pipe.hset(f"rq:job:{name}", "data", self.mended[name])
                    pipe.execute()

    def _requeue(self):
        command = [binary("jobqueue"), "failed", "requeue", "--all", "--queue", QUEUE, "--redis", self.url]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
            if self.rng.random() < 0.3:
                self.over.wait(self.rng.random() * 0.1)
                child.kill()
            return child.wait() == 0


def kind_of(number):
    """Which jobs of `test_failed_jobs_are_requeued` cannot be helped, are mended, or allow one retry at most."""
    if number % 20 == 3:
        return "hopeless"
    if number % 20 in (4, 5):
        return "mended"
    return "brittle" if number % 3 == 0 else "good"


@pytest.mark.small_on("sqlite")
def test_failed_jobs_are_requeued(full, redis_server, redis, database, start_worker, rng, measure):
    """Hopeless, mended, and brittle jobs: the death of a worker fails the last before or after the commit."""
    count, kills = (4_000, 17) if full else (400, 5)
    kinds = [kind_of(number) for number in range(count)]
    payloads = [call(FUNCTION, record(f"j{number}")) for number in range(count)]
    bad = call(FUNCTION, BAD)
    producer = Producer(redis, QUEUE)
    for number, kind in enumerate(kinds):
        more = {"retries_left": rng.randrange(2)} if kind == "brittle" else {}
        producer.enqueue_data([bad if kind in ("hopeless", "mended") else payloads[number]], first=number, **more)
    hopeless = {job_id(number) for number, kind in enumerate(kinds) if kind == "hopeless"}
    expected = [("rq", f"j{number}", 1) for number, kind in enumerate(kinds) if kind != "hopeless"]
    effects = Effects(database)
    requeuer = Requeuer(
        redis_server, rng, {job_id(number): payloads[number] for number, kind in enumerate(kinds) if kind == "mended"}
    )
    start = time.monotonic()
    campaign = Campaign(rng, [lambda: start_worker(**settings(effects, "rq"))] * 3, LEASE)
    requeuer.start()

    def failed():
        return {name.decode() for name in redis.zrange(f"rq:failed:{QUEUE}", 0, -1)}

    def running():
        return {member.decode().split(":")[0] for member in redis.zrange(f"rq:wip:{QUEUE}", 0, -1)}

    def all_end():
        # One that is done and still in a dead worker's hand may fail yet, and is to be requeued once more.
        if not requeuer.over.is_set() and effects.count() == len(expected) and not (failed() | running()) - hopeless:
            requeuer.over.set()  # what can be done is done; the hopeless ones fail once more
        return not requeuer.is_alive() and backlog.drained(redis, QUEUE)

    try:
        campaign.run(
            kills,
            lambda: (effects.count() or 0) / len(expected),
            disturbances(kills, [redis_server], database),
            halts(kills),
        )
        campaign.end(all_end, lambda: f"all end: {effects.count()} of {len(expected)}, {backlog.read(redis, QUEUE)}")
    finally:
        requeuer.over.set()
        requeuer.join()
    measure(
        jobs=count,
        kills=campaign.kills,
        zombies=len(campaign.zombies),
        requeues=requeuer.requeues,
        seconds=time.monotonic() - start,
    )
    compare(effects.rows(), expected, measure)
    assert failed() == hopeless
    assert backlog.read(redis, QUEUE).finished == len(expected)
    assert not list(redis.scan_iter("rq:execution*", count=10_000)), "no run is left open"
