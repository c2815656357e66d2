"""What those who follow the pages have: a fresh copy of this tree, the programs on the PATH, and for the pages that
need none of a cluster a network of their own, so that each finds the ports free that its page names."""

import ctypes
import fcntl
import os
import socket
import struct
import tempfile
from pathlib import Path

import pytest

from e2e.harness import ROOT

from .reader import Reader, clone, environment, free_port_6379, programs

CLONE_NEWNET, SIOCSIFFLAGS, IFF_UP = 0x40000000, 0x8914, 1


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    return programs(tmp_path_factory.mktemp("installed") / "bin")


@pytest.fixture
def own_network():
    """A loopback of this test's own, and nothing else; where that is not allowed, the machine's, with the port that
    pages name free."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) == 0:
        with socket.socket() as any_socket:
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))
        yield
        return
    # One page at a time, then.
    with open(Path(tempfile.gettempdir()) / "jobqueue-docs.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        free_port_6379()
        yield


@pytest.fixture
def reader(installed, tmp_path):
    """Makes somebody who follows pages."""
    started = []

    def start(where, conditions=(), **variables):
        each = Reader(
            where,
            clone(tmp_path / f"clone-{len(started)}"),
            environment(installed, **variables),
            tmp_path / f"notes-{len(started)}",
            conditions,
        )
        started.append(each)
        return each

    yield start
    for each in started:
        each.close()


@pytest.fixture(scope="session")
def reader_environment(installed):
    return environment(installed)


def pytest_report_header():
    return f"pages of {ROOT}, as {'root' if os.geteuid() == 0 else 'an ordinary user'}"
