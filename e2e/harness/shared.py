"""What the processes of one run share: the run makes it once, and names the directory in E2E_SHARED.

Without E2E_SHARED a process is alone, as plain pytest is, and makes for itself what it needs.
"""

import fcntl
import json
import os
import pickle
from pathlib import Path

from .waiting import until

VARIABLE = "E2E_SHARED"


def directory():
    """The directory of the run, or None for a process that is alone."""
    return Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def once(name, make):
    """What `make()` returns (JSON), made by the process that asks first. The others wait for it."""
    place = directory()
    if place is None:
        return make()
    with open(place / f"{name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = place / f"{name}.json"
        if not made.exists():
            made.write_text(json.dumps(make()), encoding="utf-8")
        return json.loads(made.read_text(encoding="utf-8"))


def note(name, line):
    """Adds a line to what `notes` returns."""
    with open(directory() / f"{name}.notes", "a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def notes(name):
    path = directory() / f"{name}.notes"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def offer(name, thing):
    """For the run: lets every process `take` a copy."""
    unfinished = directory() / f"{name}.unfinished"
    unfinished.write_bytes(pickle.dumps(thing))
    unfinished.rename(directory() / f"{name}.pickle")


def take(name, seconds=60):
    """A copy of what the run offers by that name, or will within `seconds`."""
    path = directory() / f"{name}.pickle"
    until(path.exists, f"the run offers {name}", seconds)
    return pickle.loads(path.read_bytes())
