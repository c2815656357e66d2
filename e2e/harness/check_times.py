"""How long each test took, for `./dev check`: where CHECK_TIMES names a file, a line `SECONDS<TAB>NODE` per test is added to it.

A `conftest.py` calls `register` from `pytest_configure`. Setup, call and teardown are added up, those of a second attempt too.
"""
import os
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def in_controller(config):
    """Is this the process that hears of every test? The workers of pytest-xdist are not."""
    return not hasattr(config, "workerinput")


def node_in_repository(config, nodeid):
    """The node id with its path from the top of the repository: what one would give to pytest there."""
    path, *parts = nodeid.split("::")
    full = config.rootpath / path
    return "::".join([str(full.relative_to(ROOT)) if full.is_relative_to(ROOT) else path, *parts])


def register(config):
    if os.environ.get("CHECK_TIMES") and in_controller(config):
        config.pluginmanager.register(Times(config, Path(os.environ["CHECK_TIMES"]).absolute()), "check-times")


class Times:
    """Adds up what the reports say, and writes it when the session ends."""

    def __init__(self, config, path):
        self.config, self.path, self.seconds = config, path, defaultdict(float)

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{seconds:.3f}\t{node_in_repository(self.config, nodeid)}\n" for nodeid, seconds in self.seconds.items()]
        # In one write: other suites may add to the same file at the same time.
        with open(self.path, "a", encoding="utf-8") as file:
            file.write("".join(lines))
