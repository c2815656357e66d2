"""Child processes that write to a file, are found again by nobody else, and never outlive the test."""

import atexit
import contextlib
import os
import random
import signal
import socket
import subprocess
from pathlib import Path

from .waiting import until

_children = []
_claims = []


def _claim(port):
    """Takes a port for this process by a name that only one process can have at a time, as the tests in Rust do."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0jobqueue-test-port-{port}")
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    return True


def states_of_threads(pid):
    """A letter each, as in proc(5): one may run on for a moment when the process counts as stopped."""
    states = []
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        # A thread that ended meanwhile does nothing.
        with contextlib.suppress(OSError):
            states.append((thread / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0])
    return states


def free_port():
    """A TCP port of the loopback interface that nobody uses now, and that no other test is given while this one runs.

    Below those that Linux gives to outgoing connections (32768 and up), which would take one between our look and the
    server's start, and below a cluster's node ports.
    """
    for _ in range(1000):
        port = random.randrange(12_000, 30_000)
        if not _claim(port):
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port on the loopback")


class Process:
    """One child in a session of its own, so that it can be stopped with all that it started."""

    def __init__(self, command, log, env=None, cwd=None):
        self.command = [str(part) for part in command]
        self.log = log
        with open(log, "ab") as output:
            self._child = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )
        _children.append(self)

    @property
    def pid(self):
        return self._child.pid

    def alive(self):
        return self._child.poll() is None

    def send(self, number):
        """Signals the process itself; the processes that it started are its own business."""
        if self.alive():
            os.kill(self.pid, number)

    def freeze(self):
        """SIGSTOP; returns once all its threads have stopped. What it had sent before may still be on its way."""
        self.send(signal.SIGSTOP)
        until(lambda: set(states_of_threads(self.pid)) <= set("TZX"), f"{self.command[0]} has stopped")

    def wait(self, seconds=30):
        return self._child.wait(timeout=seconds)

    def stop(self, seconds=30):
        """SIGTERM, then SIGKILL for the whole session after `seconds`; returns the exit code."""
        self.send(signal.SIGTERM)
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._child.returncode

    def kill(self):
        """SIGKILL, for the process and all that it started, sessions of their own included; returns when all are gone.

        PostgreSQL's backends are such, and one in the middle of a statement outlives its postmaster: as long as it
        holds the shared memory, a new server refuses to start. The process is halted first, so that it starts nobody
        new.
        """
        family = set()
        if self.alive():
            self.send(signal.SIGSTOP)
            family = _family(self.pid, processes())
        for number, what in ((self.pid, os.killpg), *((member, os.kill) for member in family)):
            with contextlib.suppress(ProcessLookupError):
                what(number, signal.SIGKILL)
        self._child.wait(timeout=30)
        until(
            lambda: all(fields[0] == "Z" for pid, fields in processes().items() if pid in family),
            lambda: f"the end of {family} (started by {self.command[0]})",
        )

    def output(self, last=8000):
        with open(self.log, "rb") as file:
            return file.read()[-last:].decode("utf-8", "replace")

    def resident_kib(self):
        """Resident memory in KiB, from /proc; 0 once it is gone."""
        try:
            with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
                for line in status:
                    if line.startswith("VmRSS:"):
                        return int(line.split()[1])
        except FileNotFoundError:
            pass
        return 0

    def cpu_seconds(self):
        """Processor time of the process, of those it started, and of those of them that ended."""
        running = processes()
        return sum(
            sum(map(int, running[pid][11:15])) for pid in _family(self.pid, running) & running.keys()
        ) / os.sysconf("SC_CLK_TCK")


def processes():
    """Every process by its number: the fields of /proc/PID/stat from the state on."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    fields = file.read().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found[int(entry)] = fields
    return found


def _family(pid, processes):
    """`pid` and all that descend from it."""
    family = {pid}
    while True:
        born = {other for other, fields in processes.items() if int(fields[1]) in family} - family
        if not born:
            return family
        family |= born


@atexit.register
def _leave_nothing_behind():
    for child in _children:
        if child.alive():
            child.kill()
