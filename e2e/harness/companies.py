"""The oracle of the companies example: what a file's lines must become, worked out without looking at the workers."""

import datetime
import json
import re
import subprocess
import sys

from . import ROOT, backlog
from .waiting import until

EXAMPLE = ROOT / "examples" / "companies"
FUNCTION = "ParseCompany.parse_company"


def make(count, *, seed=1, bad=0.0, partners=3.0):
    """`count` lines of the example's own generator."""
    done = subprocess.run(
        [
            sys.executable,
            EXAMPLE / "make_companies.py",
            str(count),
            "--seed",
            str(seed),
            "--bad",
            str(bad),
            "--partners",
            str(partners),
        ],
        check=True,
        capture_output=True,
    )
    return done.stdout.decode("utf-8").splitlines()


def understood(line):
    """(number, name, partners) of a line that can become rows, or None; the example's rules, written a second time."""
    try:
        company = json.loads(line)["Company"]
        name, number, partners = company["Name"], company["No"], company["Partners"]
    except (ValueError, KeyError):
        return None
    if len(name) > 255:
        return None
    start = company["StartDate"]
    if start is not None:
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT.*", start):
            return None
        try:
            datetime.date.fromisoformat(start[:10])
        except ValueError:
            return None
    return number, name, len(partners or [])


def names(lines):
    """Of the companies of good lines."""
    return [understood(line)[1] for line in lines]


class Expected:
    """What the tables must hold once all of `lines` are done with."""

    def __init__(self, lines):
        answers = [understood(line) for line in lines]
        self.rows = sorted(answer for answer in answers if answer)
        self.failed = sum(answer is None for answer in answers)

    @property
    def companies(self):
        return len(self.rows)

    @property
    def partners(self):
        return sum(partners for _, _, partners in self.rows)

    def wait_until_written(self, redis, database, seconds=60):
        """Until no job waits or runs and all companies are there, with all of their partners and ledger entries."""
        until(
            lambda: backlog.drained(redis) and database.counts()[0] >= self.companies,
            lambda: f"{self.companies} companies: {backlog.read(redis)} {database.counts()}",
            seconds,
            0.1,
        )
        assert database.counts() == (self.companies, self.partners, self.companies)
