"""Jobs that are killed when workers are removed.

Waves of jobs make workers come and go under load until ours has removed as many pods as asked for.

All twenty-five seconds a wave comes at one moment, and one job every five seconds all along. Every pod that is told
to go was removed by scaling in. A job whose begin was logged and whose end was not, when no worker is left, was
killed; where pods stay for five minutes after the load, they are counted, and the jobs that they run are among the
killed.

`drain`: jobs of three to six seconds, pods have 35 seconds to go.
`protect`: jobs of eight to fourteen seconds, pods have six; ours says `scaleDown.protectBusy: true`.

Ours and tuned KEDA have the same load at the same time.
"""

import random
import time
from dataclasses import dataclass

from e2e.harness.waiting import Late, until

from .contenders import TUNED, job_queue, keda, like_keda, rq_work
from .jobs import Jobs
from .session import say

PERIOD = 25
MOST = 16


@dataclass(frozen=True)
class Setting:
    """Seconds of a job, seconds a pod has to go, jobs that make a worker."""

    shortest: float
    longest: float
    grace: int
    per_worker: int
    down: dict


SETTINGS = {
    "drain": Setting(3.0, 6.0, 35, 2, {}),
    "protect": Setting(8.0, 14.0, 6, 1, {"protectBusy": True}),
}


def run(session, args, setting):
    this = SETTINGS[setting]
    work = rq_work(session.image(), most=MOST, per_worker=this.per_worker, grace=this.grace)
    session.contend(
        job_queue("jobqueue", session.url, work, like_keda(work, this.down)), keda("tuned", session.url, work, **TUNED)
    )
    jobs = {name: Jobs(session.client, name) for name in ("jobqueue", "tuned")}
    began = time.time()
    chance = random.Random(1)
    waves, second = 0, 0
    while session.pods.deleted("jobqueue", began) < args.scale_ins and second < args.longest:
        sizes = (MOST * this.per_worker if second % PERIOD == 0 else 0) + (second % 5 == 1)
        waves += second % PERIOD == 0
        seconds = [round(chance.uniform(this.shortest, this.longest), 2) for _ in range(sizes)]
        for each in jobs.values() if seconds else ():
            each.push(seconds)
        second += 1
        time.sleep(max(0.0, began + second - time.time()))
    result = {}
    for name, each in jobs.items():
        result[name] = settled(session, each, name, began)
        say(f"{setting} {name:9} " + "  ".join(f"{what} {value:.5g}" for what, value in result[name].items()))
    session.clear()
    return {"rounds": {name: [each] for name, each in result.items()}, "waves": waves}


def settled(session, jobs, name, began):
    """What came of them, once no worker is left; where some stay, what there is then, their number with it."""
    try:
        until(lambda: jobs.nothing_waits() and session.pods.none_left(name), f"{name}: no worker is left", 300, 0.1)
    except Late as late:
        say(str(late))
    left = sum(1 for life in session.pods.of(name) if not life["gone"])
    deleted = {life["name"]: life["deleted"] for life in session.pods.of(name) if life["deleted"]}
    runs = sorted(deleted[pod] - begun for pod, begun in jobs.cut_off() if pod in deleted)
    seconds = [round(each, 2) for each in runs]
    say(f"{name}: jobs that were killed had begun so many seconds before their pod was told to go: {seconds}")
    return {
        "scale_ins": session.pods.deleted(name, began),
        "pods_left": left,
        **jobs.result(),
        "killed_busy": sum(1 for before in runs if before > 0),
        "killed_later": sum(1 for before in runs if before <= 0),
    }


ROWS = {
    "scale_ins": "pods removed by scale-in",
    "jobs": "jobs",
    "pods_left": "pods that stayed",
    "killed": "jobs killed",
    "killed_busy": "  begun before the pod was told",
    "killed_later": "  begun after that",
    "never_begun": "jobs never begun",
    "never_ended": "jobs never ended",
    "begun_again": "jobs begun again",
}
