"""Numbers that tests measure: printed at the end of a run, and kept in a file below `target/`.

A plugin of pytest (`e2e/conftest.py`), for the fixture `measure`. A `conftest.py` calls `report` from
`pytest_terminal_summary`.
"""

import json

import pytest

from . import ROOT, shared

TARGET = ROOT / "target"
PROPERTY = "measured"


@pytest.fixture
def measure(request):
    """Keeps numbers beside the test's name: `measure(jobs=100, seconds=2.5)`.

    They travel with the test's report, so that they arrive from the workers of pytest-xdist as well.
    """
    properties = request.node.user_properties
    properties[:] = [each for each in properties if each[0] != PROPERTY]  # of an earlier attempt
    entry = {}
    properties.append((PROPERTY, entry))

    def note(**numbers):
        entry.update({name: round(value, 2) if isinstance(value, float) else value for name, value in numbers.items()})

    return note


def measured(terminalreporter):
    """Of each test's last attempt, what it measured."""
    reports = [
        report for each in terminalreporter.stats.values() for report in each if getattr(report, "when", None) == "call"
    ]
    for report in reports:
        for name, entry in report.user_properties:
            if name == PROPERTY and entry and report.outcome != "rerun":
                yield {"test": report.nodeid.rpartition("::")[2], **entry}


def report(terminalreporter, filename, width=None):
    """Prints what was measured, in lines of at most `width`, and writes it to `target/FILENAME`.

    A session that is part of a larger run (`harness.shared`) adds to the file.
    """
    entries = list(measured(terminalreporter))
    if not entries:
        return
    terminalreporter.section("measured")
    for entry in entries:
        terminalreporter.line("  ".join(f"{name} {value}" for name, value in entry.items())[:width])
    TARGET.mkdir(exist_ok=True)
    path = TARGET / filename
    before = json.loads(path.read_text(encoding="utf-8")) if shared.directory() and path.exists() else []
    path.write_text(json.dumps(before + entries, indent=1), encoding="utf-8")
