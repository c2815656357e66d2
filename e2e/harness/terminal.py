"""A program in a terminal: what it draws is read as a person would, and keys are pressed."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios

import pyte

from .waiting import until

KEYS = {"Enter": "\r", "Esc": "\x1b", "Tab": "\t", "Down": "\x1b[B", "Up": "\x1b[A", "End": "\x1b[F"}
# What a program writes to use the other screen, and to go back.
OTHER_SCREEN, FIRST_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"


class Terminal:
    """The program ends with the block; `stop` before that gives its exit code."""

    def __init__(self, command, columns=80, lines=24, env=None):
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""
        self._ours, self._theirs = pty.openpty()
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.before = termios.tcgetattr(self._theirs)
        self._child = subprocess.Popen(
            # It becomes the program: in a session of its own, which the terminal belongs to.
            ["setsid", "--ctty", *(str(part) for part in command)],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env={**os.environ, "TERM": "xterm-256color", **(env or {})},
        )
        self.pid = self._child.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        for end in (self._ours, self._theirs):
            os.close(end)

    def _read(self):
        while select.select([self._ours], [], [], 0)[0]:
            data = os.read(self._ours, 65536)
            self.written += data
            self._stream.feed(data)

    @property
    def text(self):
        self._read()
        return "\n".join(line.rstrip() for line in self._screen.display)

    def line(self, word):
        """The line that has this word."""
        return next((line for line in self.text.splitlines() if word in line), "")

    def shows(self, *words, seconds=30):
        """Waits until all of these words are on the screen."""
        until(
            lambda: all(word in self.text for word in words),
            lambda: f"{words} on the screen, which is (ended: {self._child.poll()})\n{self.text}",
            seconds,
        )

    def press(self, *keys):
        for key in keys:
            os.write(self._ours, KEYS.get(key, key).encode())

    def resize(self, columns, lines):
        self._screen.resize(lines, columns)
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)

    def ended(self, seconds=30):
        """Its exit code, once it has ended."""

        def code():
            self._read()
            return self._child.poll() is not None

        until(code, lambda: f"the end of the program; the screen is\n{self.text}", seconds)
        self._read()
        return self._child.returncode

    def stop(self, number=signal.SIGTERM):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return self.ended()

    def is_restored(self):
        """Whether lines are read and echoed as before, and the first screen is shown, with its cursor."""
        self._read()
        after = termios.tcgetattr(self._theirs)
        screens = self.written.count(OTHER_SCREEN), self.written.count(FIRST_SCREEN)
        last_shown = self.written.rfind(FIRST_SCREEN) > self.written.rfind(OTHER_SCREEN)
        return after == self.before and (screens == (0, 0) or last_shown) and not self._screen.cursor.hidden
