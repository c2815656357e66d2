"""From a backlog to workers and back, with empty pods: the deciding, the asking and the starting.

A thousand elements come into a Redis list at one moment; ten of them make a worker, twenty workers are the most. When
all twenty are ready, the list is emptied at one moment. Contenders take turns, round by round.
"""

import os
import time

from e2e.harness.waiting import until

from .contenders import TUNED, Work, job_queue, keda, like_keda
from .session import say

ELEMENTS = 1_000
WORK = Work(image=os.environ.get("BENCH_PAUSE_IMAGE", "docker.io/local/pause:1"), most=20, per_worker=10, grace=6)


def run(session, args):
    """What each round of each contender took."""
    defaults = [keda("defaults", session.url, WORK)] if args.defaults else []
    session.contend(
        job_queue("jobqueue", session.url, WORK, like_keda(WORK)), keda("tuned", session.url, WORK, **TUNED), *defaults
    )
    turns = ["jobqueue", "tuned"] * args.rounds + ["jobqueue"] * args.more + ["defaults"] * args.defaults
    taken = {}
    for name in turns:
        taken.setdefault(name, []).append(one_round(session, name, back=name != "defaults"))
    memory = session.memory()
    session.clear()
    return {"rounds": taken, "memory_mib": memory}


def one_round(session, name, back):
    replicas, most = session.replicas, WORK.most
    elements = ["x" * 100] * ELEMENTS
    began = time.time()
    session.client.rpush(name, *elements)
    result = {
        "first_asked": replicas.reaches(name, lambda asked, _: asked > 0, began, "a first worker is asked for", 120)
        - began,
        "all_asked": replicas.reaches(name, lambda asked, _: asked == most, began, "all are asked for", 240) - began,
        "all_ready": replicas.reaches(name, lambda _, ready: ready == most, began, "all are ready", 240) - began,
    }
    emptied = time.time()
    session.client.delete(name)
    if back:
        zero = replicas.reaches(name, lambda asked, _: asked == 0, emptied, "back to zero", 900)
        result |= {"back_to_zero": zero - emptied, "worker_seconds": replicas.asked_seconds(name, began)}
        until(lambda: session.pods.none_left(name), "no pod is left", 120)
    say(f"reaction {name:9}" + "".join(f"  {what} {value:.2f}" for what, value in result.items()))
    return result


ROWS = {
    "first_asked": "first worker asked for, s",
    "all_asked": "20 asked for, s",
    "all_ready": "20 ready, s",
    "back_to_zero": "emptied -> zero asked for, s",
    "worker_seconds": "worker-seconds asked for",
}
