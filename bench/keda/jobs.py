"""Jobs of one RQ queue: when each came, and what the workers' log (`tasks.py`) says became of it."""

import time
from collections import defaultdict

from rq import Queue


class Jobs:
    """Of one round: a new object forgets what was logged before."""

    def __init__(self, client, name):
        self.client, self.log = client, f"log:{name}"
        self.queue = Queue(name, connection=client)
        self.came = {}
        client.delete(self.log)

    def push(self, seconds):
        """One job for each number of seconds, all at one moment; the moment before."""
        numbers = range(len(self.came), len(self.came) + len(seconds))
        jobs = [
            Queue.prepare_data("tasks.sleep", (number, each)) for number, each in zip(numbers, seconds, strict=True)
        ]
        began = time.time()
        self.queue.enqueue_many(jobs)
        self.came.update(dict.fromkeys(numbers, began))
        return began

    def _lines(self):
        """(number of the job, "begun" or "ended", moment, pod) of each line of the log."""
        for line in self.client.lrange(self.log, 0, -1):
            number, what, at, pod = line.decode().split()
            yield int(number), what, float(at), pod

    def logged(self):
        """Number of a job to the moments when it began, and to those when it ended."""
        found = {"begun": defaultdict(list), "ended": defaultdict(list)}
        for number, what, at, _ in self._lines():
            found[what][number].append(at)
        return found["begun"], found["ended"]

    def cut_off(self):
        """(pod, moment of its begin) of each run that has not ended."""
        open_runs = {}
        for number, what, at, pod in self._lines():
            if what == "begun":
                open_runs[number, pod] = at
            else:
                open_runs.pop((number, pod), None)
        return [(pod, at) for (_, pod), at in open_runs.items()]

    def all_ended(self):
        return len(self.logged()[1]) == len(self.came)

    def nothing_waits(self):
        return len(self.queue) == 0

    def result(self):
        """What became of them; once no worker is left, a run that has not ended was killed."""
        begun, ended = self.logged()
        first = min(self.came.values())
        runs = sum(map(len, begun.values()))
        result = {
            "jobs": len(self.came),
            "killed": runs - sum(map(len, ended.values())),
            "begun_again": runs - len(begun),
            "never_begun": len(self.came) - len(begun),
            "never_ended": len(self.came) - len(ended),
        }
        if ended:
            result |= {
                "first_begun": min(map(min, begun.values())) - first,
                "first_done": min(map(min, ended.values())) - first,
                "cleared": max(map(max, ended.values())) - first,
            }
        return result

    def waits(self):
        """From coming to the first begin, of those that began, in order of length."""
        begun, _ = self.logged()
        return sorted(min(moments) - self.came[number] for number, moments in begun.items())
