"""How long each test took, for `./dev check`: a line `SECONDS<TAB>NODE` per test in the file CHECK_TIMES.

Setup, call and teardown are added up, those of a second attempt too.
"""

import os
from collections import defaultdict
from pathlib import Path


def in_controller(config):
    """Is this the process that hears of every test? The workers of pytest-xdist are not."""
    return not hasattr(config, "workerinput")


def register(config):
    wanted = os.environ.get("CHECK_TIMES") and in_controller(config)
    if wanted and not config.pluginmanager.has_plugin("check-times"):
        config.pluginmanager.register(Times(Path(os.environ["CHECK_TIMES"]).absolute()), "check-times")


class Times:
    """Adds up what the reports say, and writes it when the session ends."""

    def __init__(self, path):
        self.path, self.seconds = path, defaultdict(float)

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{seconds:.3f}\t{nodeid}\n" for nodeid, seconds in self.seconds.items()]
        # In one write: other suites may add to the same file at the same time.
        with open(self.path, "a", encoding="utf-8") as file:
            file.write("".join(lines))
