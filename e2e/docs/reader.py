"""Somebody who follows a page block by block, in a fresh copy of this tree."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from e2e.harness import ROOT
from e2e.harness.manifests import Loader, merged
from e2e.harness.workers import binary

from .blocks import Block
from .printed import difference

MADE = {ROOT / "target", ROOT / ".git", ROOT / "demo", ROOT / "queue" / "fuzz" / "target"}
MADE_ANYWHERE = shutil.ignore_patterns(".venv", ".jobqueue", "__pycache__", "*.sqlite*")
PROGRAMS = ("jobqueue", "jobqueue-worker")


def clone(directory):
    """What `git clone` would give of this tree."""

    def not_cloned(place, names):
        return MADE_ANYWHERE(place, names) | {name for name in names if Path(place, name) in MADE}

    shutil.copytree(ROOT, directory, ignore=not_cloned, symlinks=True)
    return directory


def programs(directory):
    """A directory as `cargo install` leaves it, for the PATH."""
    directory.mkdir()
    for name in PROGRAMS:
        try:
            os.link(binary(name), directory / name)
        except OSError:
            shutil.copy2(binary(name), directory / name)
    return directory


def environment(programs_directory, **more):
    """A reader's environment: our programs, and Python with rq. `./dev demo` builds nothing again."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JOBQUEUE_")}
    python = Path(sys.executable).parent
    path = f"{programs_directory}:{python}:{os.environ['PATH']}:/usr/sbin:/sbin"
    return {
        **kept,
        "JOBQUEUE_BIN": str(programs_directory),
        "PATH": path,
        "VIRTUAL_ENV": str(python.parent),
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
        **more,
    }


def free_port_6379():
    """Fails where the port that pages name is taken."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 6379)) == 0:
            pytest.fail("the pages use port 6379 of this machine, which is taken: end the Redis there")


class Reader:
    """Follows a page in the tests called `where`, with a shell that is in `directory`. A block has so many seconds."""

    def __init__(self, where, directory, shell, conditions=(), seconds=120):
        self.where, self.directory, self.conditions = where, Path(directory), conditions
        self.shell, self.seconds = shell, seconds
        self.output_of_last = None  # of the block that was run last, where that was here

    def follow(self, blocks):
        """Returns what stopped the reader, or nothing."""
        for block in blocks:
            try:
                self.take(block)
            except AssertionError as problem:
                return f"{block}: {problem}"
        return ""

    def take(self, block: Block):
        """One block."""
        if block.kind in ("run", "check"):
            runs = block.runs(self.where) and all(condition in self.conditions for condition in block.conditions)
            output = self.shell.run(block.text, block.code, block.until, self.seconds) if runs else None
            if block.kind == "run":
                self.output_of_last = output
        elif block.kind == "file":
            (self.directory / block.argument).write_text(block.text, encoding="utf-8")
        elif block.kind == "output" and self.output_of_last:
            # Read now, since commands in the background go on printing.
            printed = self.output_of_last.read_text(encoding="utf-8", errors="replace")
            problem = difference(block.text, printed, block.argument.split())
            assert not problem, f"{problem}\nprinted\n{printed[-6000:]}"

    def close(self):
        self.shell.close()


def check_fragment(block, variables, directory):
    """A part of a JobQueue: merged into the manifest that its marker names, the whole is valid for our own programs."""
    manifest = yaml.load((ROOT / block.argument).read_text(encoding="utf-8"), Loader)
    part = yaml.load(block.text, Loader)
    assert set(part) <= {"spec", "metadata"}, "a part of a JobQueue begins with spec or metadata"
    whole = directory / "merged.yaml"
    whole.write_text(yaml.safe_dump(merged(manifest, part), allow_unicode=True), encoding="utf-8")
    record = subprocess.run(
        [sys.executable, ROOT / "examples" / "companies" / "make_companies.py", "1"], capture_output=True, check=True
    ).stdout
    tried = subprocess.run(
        ["jobqueue", "try", "-f", whole, "--record", "-"], input=record, env=variables, capture_output=True, check=False
    )
    assert tried.returncode == 0, tried.stderr.decode("utf-8", "replace")
