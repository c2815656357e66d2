"""Random kills: workers get SIGKILL and are replaced, or are halted past their leases, while servers restart.

Which worker, and when, comes from a seeded generator; the moments follow the work, not the clock.
"""

import signal
import time
from concurrent.futures import ThreadPoolExecutor

from .waiting import until

# Nobody's progress is waited for longer than this before a kill.
PATIENCE = 3


class Campaign:
    """The workers that `starters` start (each makes one and returns it), and what is done to them."""

    def __init__(self, rng, starters, lease):
        self.rng, self.starters, self.lease = rng, starters, lease
        self.workers = [start() for start in starters]
        self.halted = []  # (when it goes on, the worker)
        self.zombies = []
        self.kills = 0

    def run(self, kills, share, disturbances=None, halts=()):
        """Kills so often, spread over the work: `share()` is how much of it is done (from 0 to 1; None while that
        cannot be known). `disturbances` are done together with the kill of that number; before those in `halts` a
        worker is halted."""
        for kill in range(kills):
            self._wait_for(share, (kill + self.rng.random()) / kills)
            time.sleep(self.rng.random() * 0.03)
            if kill in halts:
                self.halt()
            self.kill((disturbances or {}).get(kill))

    def kill(self, disturbance=None):
        """SIGKILL for one of them, another in its place; meanwhile the disturbance."""
        slot = self.rng.randrange(len(self.workers))
        self.workers[slot].kill()
        self.kills += 1
        with ThreadPoolExecutor(1) as aside:
            other = aside.submit(disturbance) if disturbance else None
            self.workers[slot] = self.starters[slot]()
            while other and not other.done():
                self.wake()  # a halted worker may hold what the disturbance needs
                time.sleep(0.01)
            if other:
                other.result()  # one that failed fails here, and not as a database that never answers again

    def halt(self):
        """SIGSTOP for one of them, another in its place. It continues when its leases have been reclaimed."""
        slot = self.rng.randrange(len(self.workers))
        self.workers[slot].freeze()
        self.halted.append((time.monotonic() + self.lease * 2.5, self.workers[slot]))
        self.workers[slot] = self.starters[slot]()

    def wake(self, all_of_them=False):
        """Lets those go on whose time has come."""
        for entry in [each for each in self.halted if all_of_them or each[0] <= time.monotonic()]:
            self.halted.remove(entry)
            entry[1].send(signal.SIGCONT)
            self.zombies.append(entry[1])

    def end(self, condition, what, seconds=120):
        """Until `condition()`; then every worker finishes its running jobs, those that had been halted too."""

        def ended():
            self.wake()
            return not self.halted and condition()

        until(ended, lambda: f"{what()}\n{self.workers[0].output()}", seconds)
        for worker in (*self.workers, *self.zombies):
            # One that was started a moment ago would die of it instead of draining: it listens once it has logged that
            # it starts.
            until(lambda worker=worker: worker.output() or not worker.alive(), f"{worker.log}: it starts")
            worker.send(signal.SIGTERM)
        for worker in (*self.workers, *self.zombies):
            assert worker.wait() == 0, worker.output()

    def _wait_for(self, share, wanted):
        patience = time.monotonic() + PATIENCE
        while time.monotonic() < patience:
            self.wake()
            if (share() or 0) >= min(wanted, 0.999):
                return
            time.sleep(0.005)


def disturb(database):
    """Killed and restarted; SQLite, which has no server, is held by a stranger for a while instead."""
    if database.kind != "sqlite":
        database.restart()
        return
    held = database.connect()
    held.isolation_level = None
    held.execute("BEGIN IMMEDIATE")
    time.sleep(1.5)  # the disturbance itself, not a wait for anything
    held.execute("ROLLBACK")
    held.close()
