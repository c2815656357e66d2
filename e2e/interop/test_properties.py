"""Random sequences of what producers do: every effect that was asked for happens once.

Where no job was running meanwhile, rq's own worker leaves the same behind. `SEQUENCES=2000` tries more than the few of
every run, `SEED=7` those of a seed that failed.
"""

import itertools
import os
import random
import signal
import sqlite3
from collections import Counter, defaultdict

import pytest
from rq import Queue, SimpleWorker
from rq.scheduler import RQScheduler

from e2e.harness import backlog, notes
from e2e.harness.sequences import IDS, QUEUES, Model, Producer, draw
from e2e.harness.waiting import until

pytestmark = pytest.mark.ours

# Sequences that go on side by side, with one worker.
SIDE_BY_SIDE = 10
ROUNDS = 6
WAVES = max(1, int(os.environ.get("SEQUENCES", "40")) // SIDE_BY_SIDE // 2)
SEEDS = [int(os.environ["SEED"])] if "SEED" in os.environ else range(WAVES)
NAMES = [f"s{number}" for number in range(SIDE_BY_SIDE)]
LISTS = [f"{name}-{letter}" for name in NAMES for letter in QUEUES]
EFFECTS = itertools.count(1)


class Ours:
    """Sequences before our worker."""

    def __init__(self, redis, workers, database):
        self.redis, self.workers, self.database = redis, workers, database
        self.killed = False
        self.start()
        self.producers = [Producer(redis, name) for name in NAMES]

    def start(self):
        self.worker = self.workers.start(
            queues=LISTS,
            ingest=notes.RECIPE,
            queue={"leaseSeconds": 2},
            retry={"maxAttempts": 20},
            worker={"concurrency": 4, "batchSize": 50},
        )

    def kill(self):
        self.killed = True
        self.worker.kill()
        self.workers.processes.remove(self.worker)

    def rows(self):
        return Counter(effect for (effect,) in self.database.query("SELECT effect FROM notes"))

    def settle(self):
        until(
            lambda: not self.unfinished() and not self.unfinished(),
            lambda: f"all is quiet: {self.unfinished()}\n{self.worker.output()}",
            20,
        )

    def unfinished(self):
        """An id that is scheduled without a record is left alone for a while: rq 2 schedules before it writes the
        record."""
        found = backlog.unfinished(self.redis, *LISTS)
        if self.killed:
            # A job that was canceled while a worker ran it that died then belongs to nobody; it expires.
            found = {what: keys for what, keys in found.items() if "execution" not in str(what)}
        for name in LISTS:
            scheduled = self.redis.zrange(f"rq:scheduled:{name}", 0, -1)
            if not any(self.redis.exists(f"rq:job:{member.decode()}") for member in scheduled):
                found.pop(f"scheduled in {name}", None)
        return found


class Theirs:
    """The same before rq's own worker, in this process."""

    def __init__(self, redis, path):
        self.redis, self.path = redis, path
        self.producers = [Producer(redis, name) for name in NAMES]
        connection = sqlite3.connect(path)
        connection.execute(notes.TABLE)
        connection.close()

    def rows(self):
        connection = sqlite3.connect(self.path)
        found = Counter(effect for (effect,) in connection.execute("SELECT effect FROM notes"))
        connection.close()
        return found

    def settle(self):
        queues = [Queue(name, connection=self.redis) for name in LISTS]
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def served():
            scheduler = RQScheduler(LISTS, connection=self.redis)
            scheduler.acquire_locks()
            scheduler.enqueue_scheduled_jobs()
            scheduler.release_locks()
            SimpleWorker(queues, connection=self.redis).work(burst=True, logging_level="CRITICAL")
            return not any(queue.count or self.redis.exists(queue.scheduled_job_registry.key) for queue in queues)

        try:
            until(served, "rq's worker has nothing left to do", 20)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


def numbered(steps):
    """The same steps, each that enqueues with an effect of its own."""
    return [(what, letter, on, next(EFFECTS), good, at_front) for what, letter, on, _, good, at_front in steps]


@pytest.fixture
def ours(redis, redis_server, workers, database):
    database.query(notes.TABLE)
    return Ours(redis, workers, database)


@pytest.fixture
def theirs(redis_server, tmp_path, monkeypatch):
    monkeypatch.setenv("NOTES", str(tmp_path / "theirs.sqlite"))
    redis = redis_server.client(db=1)
    redis.flushdb()
    yield Theirs(redis, tmp_path / "theirs.sqlite")
    redis.close()


def describe(seed, number, producer, what):
    steps = "\n".join(f"    {step}" for step in producer.history)
    return f"SEED={seed}, sequence {number}: {what}\n{steps}"


def check(seed, ours, models):
    rows = ours.rows()
    for number, (producer, model) in enumerate(zip(ours.producers, models, strict=True)):
        assert not model.wrong(rows), describe(seed, number, producer, f"{model.wrong(rows)}\n{ours.worker.output()}")
        seen, _ = producer.outcome()
        for letter in model.must_have_failed():
            assert any(what == "failed" for what, _ in seen[letter][1]), describe(
                seed, number, producer, f"{letter} has not failed: {seen[letter]}"
            )
    assert ours.worker.alive(), ours.worker.output()


@pytest.mark.parametrize("seed", SEEDS)
def test_with_jobs_in_hand(seed, ours, lock):
    rng = random.Random(f"in hand {seed}")
    models = [Model() for _ in NAMES]
    held = lock()
    is_held = True
    for _ in range(ROUNDS):
        for producer, model in zip(ours.producers, models, strict=True):
            for step in numbered(draw(rng, rng.randrange(3))):
                if producer.step(*step):
                    model.step(*step, producer)
                else:
                    producer.history[-1] = ("impossible", *step)
        # As long as a worker has room, it takes.
        waiting = sum(backlog.read(ours.redis, name).waiting for name in LISTS)
        probe = ours.redis.info("stats")["total_commands_processed"]
        until(
            lambda before=waiting, probe=probe: (
                not sum(ours.redis.llen(f"rq:queue:{name}") for name in LISTS)
                or ours.redis.info("stats")["total_commands_processed"] > probe + 400
            ),
            "the worker takes, or is full",
            10,
        )
        for producer, model in zip(ours.producers, models, strict=True):
            model.observe(producer)
        what = rng.choice(
            ["nothing", "nothing", "kill", "let go", "settle"] if is_held else ["nothing", "hold", "hold", "settle"]
        )
        for producer in ours.producers:
            producer.history.append((what,))
        if what == "kill":
            ours.kill()
        if what in ("kill", "let go", "settle") and is_held:
            held.execute("ROLLBACK")
            is_held = False
        if what == "kill":
            ours.start()
        if what == "settle":
            ours.settle()
            for model in models:
                model.quiet()
        if what == "hold":
            held.execute("BEGIN IMMEDIATE")
            is_held = True
    if is_held:
        held.execute("ROLLBACK")
    ours.settle()
    check(seed, ours, models)


def goes_its_own_way(steps):
    """rq runs what was canceled or scheduled if its id is on a list, and a record that an old object was written over
    again."""
    return bool({"cancel", "save stale", "enqueue stale"} & set(steps)) or (
        "enqueue in a moment" in steps and len(steps) > 1
    )


def differs(model, letter, before, ours, theirs):
    """Rows of an id that are not what rq's are. Where rq runs one record twice because its id stands on the list
    twice, once is right here; what was taken back or written over by an old object is left to the model."""
    effects = {ask.effect for ask in model.asks if ask.letter == letter and ask.certain and not ask.over}
    return {
        effect: (ours[effect] - before[0][effect], theirs[effect] - before[1][effect])
        for effect in effects
        if min(theirs[effect] - before[1][effect], 1) != ours[effect] - before[0][effect]
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_with_nothing_in_hand(seed, ours, theirs):
    rng = random.Random(f"nothing in hand {seed}")
    models = [Model() for _ in NAMES]
    apart = set()
    for _ in range(ROUNDS):
        before = ours.rows(), theirs.rows()
        ours.worker.send(signal.SIGSTOP)
        touched = defaultdict(list)
        for number, (producer, model) in enumerate(zip(ours.producers, models, strict=True)):
            for step in numbered(draw(rng, rng.randrange(4))):
                possible = producer.step(*step)
                same = theirs.producers[number].step(*step)
                assert possible == same or any(other == number for other, _ in apart), describe(
                    seed, number, producer, f"possible: {possible}, with rq {same}"
                )
                if possible:
                    model.step(*step, producer)
                    touched[number, step[1]].append(step[0])
                else:
                    producer.history[-1] = ("impossible", *step)
            producer.history.append(("settle",))
        ours.worker.send(signal.SIGCONT)
        apart |= {which for which, steps in touched.items() if goes_its_own_way(steps)}
        ours.settle()
        theirs.settle()
        rows = ours.rows(), theirs.rows()
        for number, (producer, model) in enumerate(zip(ours.producers, models, strict=True)):
            other = theirs.producers[number]
            (seen, lists), (wanted, _) = producer.outcome(), other.outcome()
            for letter in IDS:
                if (number, letter) in apart:
                    continue
                assert seen[letter] == wanted[letter], describe(
                    seed,
                    number,
                    producer,
                    f"{letter}: {seen[letter]}, with rq {wanted[letter]}\n{ours.worker.output()}",
                )
                wrong = differs(model, letter, before, *rows)
                assert not wrong, describe(
                    seed, number, producer, f"{letter}: rows (ours, rq's) {wrong}\n{ours.worker.output()}"
                )
            assert set(lists.values()) == {0}
            model.quiet()
    check(seed, ours, models)
