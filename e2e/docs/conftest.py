"""What a reader of the pages has: a fresh copy of this tree, and the programs on the PATH.

For pages that need no cluster each test has a network of its own, so that the ports that a page names are free.
"""

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
from .shell import Shell

CLONE_NEWNET, SIOCSIFFLAGS, IFF_UP = 0x40000000, 0x8914, 1


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    return programs(tmp_path_factory.mktemp("installed") / "bin")


@pytest.fixture
def own_network():
    """A loopback of this test's own; where that is not allowed, the machine's, with port 6379 free."""
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
        directory = clone(tmp_path / f"clone-{len(started)}")
        shell = Shell(directory, environment(installed, **variables), tmp_path / f"notes-{len(started)}")
        each = Reader(where, directory, shell, conditions)
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
