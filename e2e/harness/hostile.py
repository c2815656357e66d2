"""Redis servers that mean harm, of all kinds: `python -m e2e.harness.hostile HOST SERVERS`, as a process of its own.

It prints the URL of each server, one a line, and serves until it is killed.
"""

import contextlib
import itertools
import socket
import sys
import threading
import time

from . import ROOT
from .addresses import family, in_url
from .process import Process
from .waiting import until


def text(size):
    return b"$%d\r\n%s\r\n" % (size, b"x" * size)


def worker(number, length):
    """The record of one worker, as the script of RQ's numbers answers it."""
    name = b"w%06d" % number
    name += b"x" * (length - len(name))
    name = b"$%d\r\n%s\r\n" % (len(name), name)
    return b"*10\r\n" + name + b"+1\r\n+busy\r\n" + name + b"+1\r\n+1\r\n+1\r\n+1\r\n:1\r\n+\r\n"


def numbers(workers, length):
    """A complete answer, within every limit, in which so many workers report."""
    records = b"".join(worker(number, length) for number in range(workers))
    head = b"*4\r\n:1700000000\r\n:1\r\n:0\r\n*7\r\n:0\r\n:0\r\n:0\r\n:0\r\n+\r\n*%d\r\n" % workers
    return head + records + b"*0\r\n"


def flood(head, piece):
    def answer(peer):
        peer.sendall(head)
        while True:
            peer.sendall(piece)

    return answer


def once(reply):
    return lambda peer: peer.sendall(reply)


def drip(peer):
    peer.sendall(b"*1000\r\n")
    while True:
        peer.sendall(b":")
        time.sleep(0.05)


def silence(_):
    time.sleep(3600)


def hang_up(peer):
    peer.shutdown(socket.SHUT_RDWR)


# What follows a script: so it is read for as long as it lasts.
SCRIPTS = {
    "endless-array": flood(b"*2000000000\r\n", b":0\r\n" * 16384),
    "endless-arrays": flood(b"*150000\r\n", b"*2\r\n:1\r\n:1\r\n" * 16384),
    "huge-text": flood(b"$2000000000\r\n", b"x" * 16384),
    "endless-line": flood(b"+", b"x" * 16384),
    "large-texts": flood(b"*100\r\n", text(1_000_000)),
    "nested": flood(b"", b"*1\r\n" * 16384),
    "below-the-limits": once(b"*190000\r\n" + b":0\r\n" * 189_999),
    "thousands-of-workers": once(numbers(5000, 60)),
    "huge-names": once(numbers(1500, 2000)),
    "drip": drip,
    "silence": silence,
    "hang-up": hang_up,
    "long-error": once(b"-ERR " + b"x" * 1_000_000 + b"\r\n"),
    "unreadable-error": once(b"-ERR \x1b[2J\x1b]0;owned\x07\xe2\x80\xae\r\n"),
    "redirect": once(b"-MOVED 1 169.254.169.254:80\r\n"),
}
# What a Sentinel answers to any question.
SENTINELS = {
    "sentinel-metadata": once(b"*2\r\n$15\r\n169.254.169.254\r\n$2\r\n80\r\n"),
    "sentinel-endless": flood(b"*2000000000\r\n", b"$1\r\nx\r\n" * 8192),
    "sentinel-silence": silence,
}
# What a node answers to CLUSTER SLOTS.
CLUSTERS = {
    "cluster-endless": flood(b"*2000000000\r\n", b"*3\r\n:0\r\n:1\r\n*2\r\n$1\r\nx\r\n:1\r\n" * 4096),
    "cluster-many-nodes": once(
        b"*4096\r\n"
        + b"".join(
            b"*3\r\n:%d\r\n:%d\r\n*2\r\n$10\r\n203.0.113.%d\r\n:%d\r\n" % (4 * n, 4 * n + 3, n % 90 + 10, 1000 + n)
            for n in range(4096)
        )
    ),
}
# Names of a megabyte, within every limit of one answer.
CLUSTERS["cluster-long-names"] = once(
    b"*7\r\n" + b"".join(b"*3\r\n:%d\r\n:%d\r\n*2\r\n%s:1\r\n" % (n, n, text(1_000_000)) for n in range(7))
)
KINDS = [*SCRIPTS, *SENTINELS, *CLUSTERS]


class Server:
    """One server of a kind; it serves until the process ends."""

    def __init__(self, host, kind):
        self._listener = socket.create_server((host, 0), family=family(host), backlog=128)
        self.port = self._listener.getsockname()[1]
        self.kind = kind
        scheme, path = ("redis", "/0")
        if kind in SENTINELS:
            scheme, path = ("redis+sentinel", "/main/0")
        elif kind in CLUSTERS:
            scheme, path = ("redis+cluster", "")
        self.url = f"{scheme}://{in_url(host)}:{self.port}{path}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            peer, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        # It ends with its peer, or with a request that is none.
        with contextlib.suppress(OSError, ValueError), peer, peer.makefile("rb") as requests:
            while True:
                words = [self._word(requests) for _ in range(int(requests.readline()[1:]))]
                self._answer(peer, words[0].upper())

    def _answer(self, peer, command):
        if command in (b"EVALSHA", b"EVAL") and self.kind in SCRIPTS:
            SCRIPTS[self.kind](peer)
        elif command == b"SENTINEL" and self.kind in SENTINELS:
            SENTINELS[self.kind](peer)
        elif command == b"CLUSTER" and self.kind in CLUSTERS:
            CLUSTERS[self.kind](peer)
        else:
            peer.sendall(b"-ERR unknown command\r\n" if command == b"HELLO" else b"+OK\r\n")

    @staticmethod
    def _word(requests):
        word = requests.read(int(requests.readline()[1:]))
        requests.read(2)
        return word


class HostileServers:
    """So many servers in a process of their own, the kinds in turn."""

    def __init__(self, host, count, directory, kinds=KINDS):
        program = [sys.executable, "-m", __spec__.name, host, str(count), *kinds]
        self._process = Process(program, f"{directory}/hostile.log", cwd=ROOT)
        self.urls = until(lambda: self._urls(count), lambda: f"they listen\n{self._process.output()}")

    def _urls(self, count):
        lines = self._process.output(1 << 20).splitlines()
        return lines if len(lines) == count else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()


def main(host, count, *kinds):
    for kind in itertools.islice(itertools.cycle(kinds), int(count)):
        print(Server(host, kind).url, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
