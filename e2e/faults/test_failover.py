"""Failovers by Sentinel while jobs are enqueued and run.

What the new master has is done once; what it never had is counted, by the cause of the failover.
"""

import time

import pytest

from e2e.harness import marks
from e2e.harness.marks import Effects, Feeder, Promotions
from e2e.harness.topologies import Replicated
from e2e.harness.waiting import until
from e2e.harness.workers import JobQueueWorker

WORKERS = 2


class Trial:
    """Sentinels, workers, a producer; and at the end the account."""

    def __init__(self, directory, protocol, feeder=None, **settings):
        self.directory, self.protocol = directory, protocol
        self.redis = Replicated(directory, **settings)
        self.rows = Effects(directory / "database")
        self.workers = [
            JobQueueWorker(directory, self.redis.url, self.rows.url, name=f"worker{number}", **marks.settings(protocol))
            for number in range(WORKERS)
        ]
        until(
            lambda: marks.workers_are_registered(self.redis.url, protocol, WORKERS),
            lambda: f"the workers are there\n{self.workers[0].output()}",
        )
        self.promotions = Promotions(self.redis.nodes)
        self.feeder = Feeder(self.redis.master, protocol, **(feeder or {}))

    def fed(self, number):
        """Until so many more jobs are acknowledged."""
        wanted = len(self.feeder.acknowledged) + number
        until(
            lambda: len(self.feeder.acknowledged) >= wanted,
            lambda: f"jobs are enqueued: {len(self.feeder.acknowledged)} of {wanted}",
            60,
        )

    def end(self):
        """Stops the producer, lets the workers finish; returns the account and examples of what is wrong."""
        self.feeder.stop()
        until(
            lambda: marks.drained(self.redis.url, self.protocol),
            lambda: f"all end: {marks.status(self.redis.url, self.protocol)}\n{self.workers[0].output()}",
            90,
        )
        # A machine that stood still for a while may have brought a failover of its own: the last one counts.
        self.redis.settled()
        self.promotions.stop()
        master = self.redis.master()
        port, at, kept = self.promotions.seen[-1]
        assert port == master.port, "each failover is seen"
        counts, wrong = marks.account(
            self.feeder.acknowledged, self.rows.marks(), marks.holdings(master.client()), kept, (port, at)
        )
        counts.update(
            failed=marks.status(self.redis.url, self.protocol)["failed"],
            doubtful=len(self.feeder.doubtful),
            refused=self.feeder.refused,
        )
        return counts, wrong

    def stop(self):
        self.feeder.stop()
        self.promotions.stop()
        for worker in self.workers:
            worker.kill()
        self.redis.stop()


@pytest.fixture
def trial(tmp_path):
    begun = []

    def begin(*args, **kwargs):
        begun.append(Trial(tmp_path, *args, **kwargs))
        return begun[-1]

    yield begin
    for each in begun:
        each.stop()


def run(trial, measure, hows, number):
    """Fails over in each of these ways, while nobody writes rows and jobs pile up; accounts for all jobs, and tells
    what each failover cost: jobs that are forgotten, and those of them that replicas had acknowledged."""
    begun = []
    for how in hows:
        trial.fed(number)
        with trial.rows.held():
            trial.fed(number)
            begun.append(time.monotonic())
            trial.redis.fail_over(how)
    trial.fed(number)
    counts, wrong = trial.end()
    rows, jobs = trial.rows.marks(), trial.feeder.acknowledged
    gone = [(at, have >= trial.feeder.wait > 0) for each, (_, at, have) in jobs.items() if not rows[each]]
    # To each belong those of the last moment before it as well.
    within = [
        [copied for at, copied in gone if since - 1 <= at < end - 1]
        for since, end in zip(begun, [*begun[1:], float("inf")], strict=True)
    ]
    cost = {
        f"{place}_{how}": f"{len(each)}, copied {sum(each)}"
        for place, (how, each) in enumerate(zip(hows, within, strict=True))
    }
    measure(jobs=len(jobs), **counts, **cost)
    assert not wrong, wrong
    assert counts["failed"] == 0
    return [sum(each) for each in within]


@pytest.mark.parametrize(
    "protocol",
    ["RQ", pytest.param("List", marks=pytest.mark.with_full), pytest.param("Stream", marks=pytest.mark.with_full)],
)
def test_what_the_new_master_has_is_done_once(full, trial, measure, protocol):
    run(trial(protocol), measure, ["kill", "freeze", "command", "kill"] if full else ["kill"], 300 if full else 100)


# A failover by command leaves the old master at work for seconds, with one of the two replicas still behind it.
@pytest.mark.with_full
@pytest.mark.parametrize(
    ("wait", "least", "hows"),
    [(1, 0, ["freeze", "kill"]), (2, 0, ["freeze", "command", "kill"]), (0, 2, ["freeze", "command", "kill"])],
)
def test_what_replicas_have_acknowledged_stays(trial, measure, wait, least, hows):
    settings = {"min_replicas_to_write": least, "min_replicas_max_lag": 2}
    copied = run(trial("List", {"wait": wait}, **settings), measure, hows, 200)
    assert not any(copied), copied
