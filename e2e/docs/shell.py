"""A shell as a reader of a page has it: one for all blocks, so that variables and background jobs last."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from e2e.harness.process import processes
from e2e.harness.waiting import Late, until

# A command that ends otherwise than the page says ends the shell; one that was interrupted may end as it likes.
SCRIPT = """set -o pipefail
trap 'code=$?
[ -e {interrupted} ] || [ $code = {code} ] || {{ echo "[$BASH_COMMAND] ended with $code" >&2; exit $code; }}' ERR
{commands}"""

BASH = ("env", "--default-signal=INT", "bash", "--norc", "--noprofile")


class Failed(AssertionError):
    """A block that did not end as its page says."""


class Shell:
    """Bash in `directory`; scripts and outputs go to `notes`. `command`: what starts it, if it is not here."""

    def __init__(self, directory, environment, notes, command=BASH):
        self.directory, self.notes, self.count = Path(directory), Path(notes), 0
        self.notes.mkdir(parents=True, exist_ok=True)
        with open(self.notes / "shell", "wb") as log:
            # Tests that were begun in the background ignore Ctrl-C, and so would all that they begin.
            self.child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                cwd=directory,
                env=environment,
                start_new_session=True,
            )
        # Job control: each command has a process group of its own, as in a terminal. Ctrl-C means the command, not the
        # shell.
        self._send("set -m; trap : INT")

    def _send(self, line):
        try:
            self.child.stdin.write(line + "\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            self.child.wait()  # whoever waits for the line's end finds that the shell has ended

    def run(self, commands, code=0, ctrl_c_at="", seconds=120):
        """Runs a block, whose last command ends with `code` and all others with 0 or that, and returns the file of
        what it printed. `ctrl_c_at`: text at which the last command is interrupted."""
        self.count += 1
        script, output, done, interrupted = (
            self.notes / f"{self.count}.{what}" for what in ("sh", "output", "done", "interrupted")
        )
        script.write_text(SCRIPT.format(interrupted=interrupted, code=code, commands=commands), encoding="utf-8")
        note = f"echo $? >{done}.new; mv {done}.new {done}"
        self._send(f". {script} >{output} 2>&1 </dev/null; {note}")

        def printed():
            return output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""

        def ended():
            return done.exists() or self.child.poll() is not None

        try:
            if ctrl_c_at:
                until(lambda: ctrl_c_at in printed() or ended(), f"'{ctrl_c_at}' is printed", seconds, 0.05)
                assert not ended(), f"ended by itself:\n{printed()}"
                interrupted.touch()
                self._ctrl_c()
                self._send(note)  # a command that dies of it takes the rest of the line with it
            until(ended, "the block ends", seconds, 0.01)
        except (Late, AssertionError) as problem:
            raise Failed(f"{problem}\n{commands}\nprinted\n{printed()[-4000:]}") from None
        if self.child.poll() is not None:
            raise Failed(f"{commands}\nprinted\n{printed()[-4000:]}")
        last = int(done.read_text(encoding="ascii"))
        if last != code and not ctrl_c_at:
            raise Failed(f"{commands}\nended with {last} and not with {code}, and printed\n{printed()[-4000:]}")
        return output

    def _ctrl_c(self):
        """SIGINT to what was started last and still runs; a block that is to be interrupted ends with it."""
        children = [
            (int(fields[19]), pid)
            for pid, fields in processes().items()
            if fields[0] != "Z" and int(fields[1]) == self.child.pid
        ]
        os.killpg(max(children)[1], signal.SIGINT)

    def close(self):
        """Ends the shell and whatever was started from its directory, servers that became daemons too."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            end = time.monotonic() + 5
            while (left := self._family()) and time.monotonic() < end:
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
                time.sleep(0.05)
        self.child.wait()

    def _family(self):
        found = []
        for pid, fields in processes().items():
            if fields[0] == "Z":
                continue
            try:
                place = Path(os.readlink(f"/proc/{pid}/cwd"))
            except OSError:
                continue
            if place.is_relative_to(self.directory):
                found.append(pid)
        return found
