"""Numbers that tests measure: printed at the end of a run, and kept in a file below `target/`.

A `conftest.py` imports `measure`, and calls `report` from `pytest_terminal_summary`.
"""
import json
from pathlib import Path

import pytest

TARGET = Path(__file__).resolve().parents[2] / "target"
MEASURED = []


@pytest.fixture
def measure(request):
    """Keeps numbers beside the test's name: `measure(jobs=100, seconds=2.5)`."""
    entry = {"test": request.node.name}
    MEASURED.append(entry)

    def note(**numbers):
        entry.update({name: round(value, 2) if isinstance(value, float) else value for name, value in numbers.items()})
    return note


def report(terminalreporter, filename, width=None):
    """Prints what was measured, in lines of at most `width`, and writes it to `target/FILENAME`."""
    told = [entry for entry in MEASURED if len(entry) > 1]
    if not told:
        return
    terminalreporter.section("measured")
    for entry in told:
        terminalreporter.line("  ".join(f"{name} {value}" for name, value in entry.items())[:width])
    TARGET.mkdir(exist_ok=True)
    (TARGET / filename).write_text(json.dumps(told, indent=1), encoding="utf-8")
