"""The figures that README and the comparison show are those of the pages that say how they were measured."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MEASURED = [ROOT / "docs" / name for name in ("performance.md", "simulate.md", "rq-compatibility.md", "install.md")]
# Not the digits of a name (v1alpha1), and no issue's number (#2662).
NUMBER = re.compile(r"(?<![\w#.])\d+(?:,\d{3})*(?:\.\d+)?(?![\w.]*\d)")


def numbers(text):
    return set(NUMBER.findall(text))


@pytest.mark.parametrize("page", ["README.md", "docs/comparison.md"])
def test_figures_are_measured(page):
    measured = numbers("".join(path.read_text(encoding="utf-8") for path in MEASURED))
    rows = [line for line in (ROOT / page).read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    shown = {number: row for row in rows for number in numbers(row)}
    assert len(shown) > 10
    assert not {number: row for number, row in shown.items() if number not in measured}
