"""Tests that pass at their second attempt only, kept across runs in `target/check/second-attempts.jsonl`.

One JSON object a line: `test`, `group`, `error` and `where` of the first failure, `time`. A test that is there
repeatedly is to be mended (docs/decisions/2026-11-24-second-attempts-on-a-cluster.md).
"""

import datetime
import json

from . import ROOT
from .check_times import in_controller

PATH = ROOT / "target" / "check" / "second-attempts.jsonl"


def register(config, groups):
    """`groups` are the markers that name a test's group; without one of them it is in the group `default`."""
    if in_controller(config):
        config.pluginmanager.register(SecondAttempts(groups), "second-attempts")


class SecondAttempts:
    """Remembers first failures and writes down those that a later attempt made good."""

    def __init__(self, groups):
        self.groups = groups
        self.first = {}  # the first failure of each test
        self.attempts = {}  # the number of its last failed attempt

    def pytest_runtest_logreport(self, report):
        test = report.nodeid
        if report.outcome == "rerun":
            self.first.setdefault(test, report)
            self.attempts[test] = report.rerun
        elif report.failed:
            self.first.pop(test, None)  # red, and so no secret
        elif test in self.first and report.when == "teardown" and report.rerun > self.attempts[test]:
            self.write(self.first.pop(test))

    def write(self, failure):
        crash = getattr(failure.longrepr, "reprcrash", None)
        error = " ".join((crash.message if crash else str(failure.longrepr)).split())
        entry = {
            "test": failure.nodeid,
            "error": error[:300],
            "where": f"{crash.path}:{crash.lineno}".removeprefix(f"{ROOT}/") if crash else failure.when,
            "group": next((group for group in self.groups if group in failure.keywords), "default"),
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        PATH.parent.mkdir(parents=True, exist_ok=True)
        with open(PATH, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
