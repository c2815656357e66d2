"""What producers do with a few ids, one step after the other, drawn at random; and what must come of it.

`Model` knows of each effect how often it must be in the table at least and at most. Certain is what a worker took,
and what nobody touched before that. What was canceled, deleted, emptied or written over may have been too late or
not.
"""

import datetime
from collections import Counter

from redis.exceptions import ResponseError
from rq import Queue
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.job import Job

from . import notes

IDS, QUEUES = "abc", "xy"
# Name and weight. Stale is an object that a client read earlier.
STEPS = {
    "enqueue": 10,
    "enqueue in a moment": 2,
    "enqueue stale": 2,
    "requeue": 3,
    "delete": 1,
    "cancel": 1,
    "lose the record": 1,
    "empty": 1,
    "move": 2,
    "save stale": 1,
    "read": 4,
}
TAKES_BACK = ("delete", "cancel", "lose the record", "save stale")


def draw(rng, number):
    """Steps as tuples: (what, id, queue, effect, good, at front)."""
    whats = rng.choices(list(STEPS), STEPS.values(), k=number)
    return [(what, rng.choice(IDS), rng.choice(QUEUES), None, rng.random() < 0.8, rng.random() < 0.2) for what in whats]


class Producer:
    """One sequence's producer on one Redis. Ids and queues are its own: many share a server and its workers."""

    def __init__(self, redis, name):
        self.redis, self.name = redis, name
        self.queues = {letter: Queue(f"{name}-{letter}", connection=redis) for letter in QUEUES}
        self.read, self.history = {}, []

    def id_of(self, letter):
        return f"{self.name}-{letter}"

    def fetch(self, letter):
        try:
            return Job.fetch(self.id_of(letter), connection=self.redis)
        except NoSuchJobError:
            return None

    def step(self, what, letter, on, effect, good, at_front):
        """Does it; gives whether it was possible."""
        self.history.append((what, letter, on, effect, good, at_front))
        job, queue, job_id = self.fetch(letter), self.queues[on], self.id_of(letter)
        stale = self.read.get(letter)
        if what == "enqueue":
            queue.enqueue(notes.FUNCTION, notes.text(effect, good), job_id=job_id, at_front=at_front)
        elif what == "enqueue in a moment":
            queue.enqueue_in(datetime.timedelta(seconds=1), notes.FUNCTION, notes.text(effect, good), job_id=job_id)
        elif what == "enqueue stale" and stale:
            queue.enqueue_job(stale)
        elif what == "save stale" and stale:
            stale.save()
        elif what == "read" and job:
            self.read[letter] = job
        elif what == "delete" and job:
            job.delete()
        elif what == "cancel" and job:
            try:
                job.cancel()
            except InvalidJobOperation:
                return False
        elif what == "lose the record" and job:
            self.redis.delete(job.key)
        elif what == "empty":
            queue.empty()
        elif what == "move":
            others = [self.queues[letter].key for letter in QUEUES if letter != on]
            return bool(self.redis.lmove(queue.key, others[0]))
        elif what == "requeue" and job and job.get_status(refresh=False) == "failed":
            for registry in (each.failed_job_registry for each in self.queues.values()):
                if job_id in registry.get_job_ids(cleanup=False):
                    registry.requeue(job_id)
                    return True
            return False
        else:
            return False
        return True

    def waits(self, letter):
        """Whether the id is on a list, or scheduled."""
        job_id = self.id_of(letter)
        return any(
            self.redis.lpos(queue.key, job_id) is not None
            or self.redis.zscore(queue.scheduled_job_registry.key, job_id)
            for queue in self.queues.values()
        )

    def outcome(self):
        """What rq's readers see when all is quiet. rq leaves the entries of failures of earlier runs; ours go."""
        seen = {}
        for letter in IDS:
            job, job_id = self.fetch(letter), self.id_of(letter)
            failed_on = {job.origin} if job and job.get_status(refresh=False) == "failed" else set()
            seen[letter] = (
                job and (job.get_status(refresh=False).value, job.args, job.origin),
                [
                    (what, on)
                    for what in ("finished", "failed", "canceled", "started")
                    for on, queue in self.queues.items()
                    if (what != "failed" or queue.name in failed_on)
                    and any(
                        member.split(":")[0] == job_id
                        for member in self._members(f"rq:{'wip' if what == 'started' else what}:{queue.name}")
                    )
                ],
            )
        return seen, {on: queue.count for on, queue in self.queues.items()}

    def _members(self, key):
        try:
            return [member.decode() for member in self.redis.zrange(key, 0, -1)]
        except ResponseError:
            return []


class Ask:
    """One effect that somebody asked for."""

    def __init__(self, letter, effect, good):
        self.letter, self.effect, self.good = letter, effect, good
        self.taken = self.over = False
        self.certain = self.untouched = True


class Model:
    """Follows the steps of one sequence."""

    def __init__(self):
        self.asks, self.record, self.read = [], {}, {}

    def step(self, what, letter, on, effect, good, at_front, producer):
        if what in ("enqueue", "enqueue in a moment"):
            self._ask(letter, effect, good)
        elif what == "enqueue stale":
            self._ask(letter, *self.read[letter])
        elif what == "requeue" and letter in self.record:
            self._ask(letter, *self.record[letter])
        elif what == "read" and letter in self.record:
            self.read[letter] = self.record[letter]
        elif what in TAKES_BACK:
            self._doubt(letter)
            if what == "save stale":
                self.record[letter] = self.read[letter]
        elif what == "empty":
            for each in IDS:
                self._doubt(each)

    def _ask(self, letter, effect, good):
        for ask in self.asks:
            if ask.letter == letter and not ask.taken:
                ask.certain = False
        self.asks.append(Ask(letter, effect, good))
        self.record[letter] = (effect, good)

    def _doubt(self, letter):
        for ask in self.asks:
            if ask.letter == letter:
                ask.certain, ask.untouched = ask.certain and ask.over, False

    def observe(self, producer):
        """What waits no more was taken."""
        for ask in self.asks:
            if not ask.taken and not producer.waits(ask.letter):
                ask.taken = True

    def quiet(self):
        for ask in self.asks:
            ask.taken = ask.over = True

    def wrong(self, rows):
        """Effects that are in the table too often or not often enough."""
        least = Counter(ask.effect for ask in self.asks if ask.good and ask.certain)
        most = Counter(ask.effect for ask in self.asks if ask.good)
        return {
            effect: f"{rows[effect]} times, not {least[effect]} to {most[effect]}"
            for effect in {ask.effect for ask in self.asks}
            if not least[effect] <= rows[effect] <= most[effect]
        }

    def must_have_failed(self):
        """Ids whose last ask was a bad one that nobody touched."""
        last = {ask.letter: ask for ask in self.asks}
        return [letter for letter, ask in last.items() if ask.certain and ask.untouched and not ask.good]
