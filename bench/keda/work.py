"""With real work: Python rq workers in equal pods, jobs that sleep.

`backlog`: 300 jobs of two seconds at one moment, twenty workers are the most. Contenders take turns; KEDA with its
defaults begins, and the five minutes until its workers go pass while the others have theirs.

`waves`: for four minutes, every forty seconds forty jobs at one moment, and one job a second all along, each of half
a second to one and a half; ten workers are the most. All contenders have this load at the same time on the same
machine, each some seconds after the one before, so that their pods do not start together.

Ours are `ours-N` with KEDA's rule of N jobs to a worker, `ours-wait-N` with `maxWaitSeconds: N`, and `ours-default`,
whose manifest has no target. Tuned KEDA's are `keda-N` with a `listLength` of N: the same as ours, of which the
larger one costs less.
"""

import random
import time
from dataclasses import dataclass
from types import SimpleNamespace

from e2e.harness.waiting import Late, until

from .contenders import TUNED, job_queue, keda, like_keda, rq_work
from .jobs import Jobs
from .session import say

GRACE = 35


@dataclass(frozen=True)
class Settings:
    """The most workers, jobs per worker (the usual number, and a larger one, which costs less), `maxWaitSeconds`."""

    most: int
    per_worker: tuple
    wait: int


BACKLOG = Settings(most=20, per_worker=(15, 25), wait=60)
WAVES = Settings(most=10, per_worker=(4, 12), wait=15)


def contenders(session, args, these):
    """What each consists of, by its name."""
    works = [rq_work(session.image(), most=these.most, per_worker=number, grace=GRACE) for number in these.per_worker]
    scalings = {f"ours-{work.per_worker}": like_keda(work) for work in works}
    scalings |= {f"ours-wait-{these.wait}": {"targets": {"maxWaitSeconds": these.wait}}, "ours-default": {}}
    found = {name: job_queue(name, session.url, works[0], scaling) for name, scaling in scalings.items()}
    found |= {name: keda(name, session.url, work, **TUNED) for work in works for name in [f"keda-{work.per_worker}"]}
    return {name: objects for name, objects in found.items() if not args.only or name in args.only}


def backlog(session, args):
    found = contenders(session, args, BACKLOG)
    work = rq_work(session.image(), most=BACKLOG.most, per_worker=BACKLOG.per_worker[0], grace=GRACE)
    defaults = [keda("defaults", session.url, work)] if args.defaults else []
    session.contend(*found.values(), *defaults)
    seconds = [2.0] * args.jobs
    taken = {}
    waiting = [worked(session, "defaults", seconds)] if args.defaults else []
    for name in [*found] * args.backlogs:
        taken.setdefault(name, []).append(gone(session, worked(session, name, seconds)))
    for each in waiting:
        taken["defaults"] = [gone(session, each)]
    session.clear()
    return {"rounds": taken}


def worked(session, name, seconds):
    """Pushes a backlog and waits until it is done."""
    jobs = Jobs(session.client, name)
    began = jobs.push(seconds)
    done(session, jobs, name)
    return SimpleNamespace(name=name, jobs=jobs, began=began)


def done(session, jobs, name):
    """Waits until all jobs ended, or no worker is left to end them; jobs of a killed worker may end minutes later."""
    try:
        until(
            lambda: jobs.all_ended() or (jobs.nothing_waits() and session.pods.none_left(name)),
            lambda: f"{name}: {jobs.result()}",
            240,
            0.1,
        )
    except Late as late:
        say(str(late))


def gone(session, each):
    """Waits until no worker is left of it; what came of it."""
    name, began = each.name, each.began
    result = each.jobs.result()
    cleared = began + result["cleared"]
    zero = session.replicas.reaches(name, lambda asked, _: asked == 0, cleared, "back to zero", 900)
    until(lambda: session.pods.none_left(name), f"{name}: no pod is left", 120)
    result |= {"back_to_zero": zero - cleared, **outcome(session, each.jobs, name, began)}
    say(f"backlog {name:12} " + "  ".join(f"{what} {value:.5g}" for what, value in result.items()))
    return result


def outcome(session, jobs, name, began):
    waits = jobs.waits()
    return {
        "wait_mean": sum(waits) / len(waits),
        "wait_p50": percentile(waits, 50),
        "wait_p95": percentile(waits, 95),
        "worker_seconds": session.pods.seconds(name, began),
        "pods": len(session.pods.of(name, began)),
        **jobs.result(),
    }


def percentile(ordered, part):
    """The smallest of them that is not exceeded by `part` percent."""
    return ordered[max(0, -(-len(ordered) * part // 100) - 1)]


def waves(session, args):
    found = contenders(session, args, WAVES)
    session.contend(*found.values())
    rounds = [uneven_round(session, list(found), args.waves) for _ in range(args.uneven)]
    session.clear()
    return {"rounds": {name: [each[name] for each in rounds] for name in found}}


def uneven_round(session, names, number):
    """What each had of the same load; ends when none has a worker."""
    jobs = {name: Jobs(session.client, name) for name in names}
    began = time.time()
    for name, at, seconds in uneven(names, number):
        time.sleep(max(0.0, began + at - time.time()))
        jobs[name].push(seconds)
    for name, each in jobs.items():
        done(session, each, name)
    result = {}
    for name, each in jobs.items():
        until(lambda name=name: session.pods.none_left(name), f"{name}: no pod is left", 900)
        result[name] = outcome(session, each, name, began)
        say(f"waves {name:12} " + "  ".join(f"{what} {value:.5g}" for what, value in result[name].items()))
    return result


PERIOD = 40


def uneven(names, number):
    """(name, seconds from now, durations of the jobs that come then), in order of time; the same jobs for each name."""
    chance = random.Random(1)

    def durations(count):
        return [round(chance.uniform(0.5, 1.5), 2) for _ in range(count)]

    load = [(wave * PERIOD, durations(40)) for wave in range(number)] + [
        (second + 0.5, durations(1)) for second in range(number * PERIOD)
    ]
    apart = PERIOD / len(names)
    shifted = [(name, at + place * apart, seconds) for place, name in enumerate(names) for at, seconds in load]
    return sorted(shifted, key=lambda each: each[1])


WAIT_ROWS = {
    "wait_mean": "wait, mean, s",
    "wait_p50": "wait, 50th percentile, s",
    "wait_p95": "wait, 95th percentile, s",
    "worker_seconds": "worker-seconds",
    "pods": "pods started",
    "killed": "jobs killed",
    "never_begun": "jobs never begun",
}
BACKLOG_ROWS = {
    "first_begun": "first job begun, s",
    "first_done": "first job done, s",
    "cleared": "backlog cleared, s",
    "back_to_zero": "cleared -> zero asked for, s",
    **WAIT_ROWS,
}
WAVES_ROWS = {**WAIT_ROWS, "jobs": "jobs"}
