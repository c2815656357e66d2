"""With real work: Python rq workers in equal pods, jobs that sleep.

`backlog`: 300 jobs of two seconds at one moment, fifteen of them make a worker, twenty workers are the most. Contenders take
turns; KEDA with its defaults begins, and the five minutes until its workers go pass while the others have theirs.

`waves`: for four minutes, every forty seconds forty jobs at one moment, and one job a second all along, each of half a second
to one and a half. All contenders have this load at the same time on the same machine, each some seconds after the one
before, so that their pods do not start together. Those that are called `jobqueue/N` are ours with N jobs to a worker.
"""
import random
import time
from types import SimpleNamespace

from contenders import TUNED, job_queue, keda, rq_work
from harness.waiting import Late, until
from jobs import Jobs
from session import say

GRACE = 35


def backlog(session, args):
    work = rq_work(session.image(), most=20, per_worker=15, grace=GRACE)
    defaults = [keda("defaults", session.url, work)] if args.defaults else []
    session.contend(job_queue("jobqueue", session.url, work), keda("tuned", session.url, work, **TUNED), *defaults)
    seconds = [2.0] * args.jobs
    taken = {}
    waiting = [worked(session, "defaults", seconds)] if args.defaults else []
    for name in ["jobqueue", "tuned"] * args.backlogs:
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
    """Waits until all have ended, or nobody is left who would end them; what a killed worker had in hand may end minutes later."""
    try:
        until(lambda: jobs.all_ended() or jobs.nothing_waits() and session.pods.none_left(name), lambda: f"{name}: {jobs.result()}", 240, 0.1)
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
    say(f"backlog {name:9} " + "  ".join(f"{what} {value:.5g}" for what, value in result.items()))
    return result


def outcome(session, jobs, name, began):
    waits = jobs.waits()
    return {"wait_p50": percentile(waits, 50), "wait_p95": percentile(waits, 95), "worker_seconds": session.pods.seconds(name, began),
            "pods": len(session.pods.of(name, began)), **jobs.result()}


def percentile(ordered, part):
    """The smallest of them that is not exceeded by `part` percent."""
    return ordered[max(0, -(-len(ordered) * part // 100) - 1)]


def waves(session, args):
    image = session.image()
    def work(per_worker):
        return rq_work(image, most=10, per_worker=per_worker, grace=GRACE)
    contenders = {f"jobqueue/{number}": job_queue(f"ours{number}", session.url, work(number)) for number in args.per_worker}
    contenders["tuned"] = keda("tuned", session.url, work(args.per_worker[0]), **TUNED)
    session.contend(*contenders.values())
    names = {title: objects[0]["metadata"]["name"].removesuffix("-worker") for title, objects in contenders.items()}
    rounds = [uneven_round(session, names, args.waves) for _ in range(args.uneven)]
    session.clear()
    return {"rounds": {title: [each[title] for each in rounds] for title in names}}


def uneven_round(session, names, number):
    """What each had of the same load; ends when none has a worker."""
    jobs = {title: Jobs(session.client, name) for title, name in names.items()}
    began = time.time()
    for title, at, seconds in uneven(names, number):
        time.sleep(max(0.0, began + at - time.time()))
        jobs[title].push(seconds)
    for title, each in jobs.items():
        done(session, each, names[title])
    result = {}
    for title, name in names.items():
        until(lambda: session.pods.none_left(name), f"{name}: no pod is left", 900)
        result[title] = outcome(session, jobs[title], name, began)
        say(f"waves {title:12} " + "  ".join(f"{what} {value:.5g}" for what, value in result[title].items()))
    return result


PERIOD = 40


def uneven(titles, number):
    """(title, seconds from now, durations of the jobs that come then), in order of time; the same jobs for each title."""
    chance = random.Random(1)
    def durations(count):
        return [round(chance.uniform(0.5, 1.5), 2) for _ in range(count)]
    load = [(wave * PERIOD, durations(40)) for wave in range(number)] + [(second + 0.5, durations(1)) for second in range(number * PERIOD)]
    apart = PERIOD / len(titles)
    shifted = [(title, at + place * apart, seconds) for place, title in enumerate(titles) for at, seconds in load]
    return sorted(shifted, key=lambda each: each[1])


BACKLOG_ROWS = {"first_begun": "first job begun, s", "first_done": "first job done, s", "cleared": "backlog cleared, s",
                "back_to_zero": "cleared -> zero asked for, s", "wait_p50": "wait, 50th percentile, s", "wait_p95": "wait, 95th percentile, s",
                "worker_seconds": "worker-seconds", "killed": "jobs killed"}
WAVES_ROWS = {"wait_p50": "wait, 50th percentile, s", "wait_p95": "wait, 95th percentile, s", "worker_seconds": "worker-seconds",
              "pods": "pods started", "jobs": "jobs", "killed": "jobs killed", "never_begun": "jobs never begun"}
