"""What the programs say with `--help`: it is on the page, and keeps to the rule book of the prose."""

import re

from e2e.harness import ROOT
from e2e.harness.script import loaded
from e2e.harness.workers import binary

DIRECTORY = binary("jobqueue").parent


prose = loaded(ROOT / "site" / "prose.py")
help_page = loaded(ROOT / "scripts" / "help-page")


def paragraphs(text):
    """Its paragraphs; each line of a list, and each column of it, is one by itself."""
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n|\n(?=  [-\w])|(?<=\S) {2,}", text)]


def test_the_page_has_the_help_of_every_command():
    made = help_page.page(DIRECTORY)
    assert made.count("\n## ") >= 18, "commands were not found"
    assert help_page.PAGE.read_text(encoding="utf-8") == made, "run ./dev generate and commit what it changes"


def test_help_texts_keep_to_the_rules():
    found = [
        f"{' '.join(words)}: {problem}"
        for words, text in help_page.commands(DIRECTORY)
        for paragraph in paragraphs(text)
        for problem in prose.problems(paragraph)
    ]
    assert not found, "\n" + "\n".join(found)
