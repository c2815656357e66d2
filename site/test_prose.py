"""The pages keep to the rule book, and each rule of it finds what it is for."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
spec = spec_from_file_location("prose", ROOT / "site" / "prose.py")
prose = module_from_spec(spec)
spec.loader.exec_module(prose)

# The generated reference has the types' descriptions; what is past stays as it was written.
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/*.md", "examples/*/*.md", "charts/*/*.md", "proof/*.md", ".github/**/*.yml")
    for page in ROOT.glob(pattern)
    if page.name != "CHANGELOG.md"
)


def words(count):
    return " ".join(["A", *(f"word{number}" for number in range(1, count))]) + "."


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_keeps_to_the_rules(page):
    text = page.read_text(encoding="utf-8")
    found = [
        f"{page.relative_to(ROOT)}:{line}: {problem}"
        for line, paragraph in prose.paragraphs(text)
        for problem in prose.problems(paragraph)
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "text, rule",
    [
        ("You can simply start it.", "'simply'"),
        ("It utilizes a pool.", "'utilizes'"),
        ("Use it in order to scale.", "'in order to'"),
        ("Streams will be supported.", "a promise"),
        ("It doesn't stop.", "both words"),
        ("It stops the the worker.", "a word twice"),
        ("The worker who has the job ends.", "a thing"),
        (words(31), "31 words"),
    ],
)
def test_each_rule_finds_what_it_is_for(text, rule):
    [problem] = prose.problems(text)
    assert rule in problem


@pytest.mark.parametrize(
    "text",
    [
        "A simple justification.",
        "It takes 1.5 s, e.g. on one core. That is all.",
        "People who wait are served.",
        words(25) + " " + words(25),
    ],
)
def test_other_text_is_left_alone(text):
    assert not list(prose.problems(text))


def test_code_is_not_read():
    code = "    simply\n\n```\njust\n```"
    page = f"# Title\n\nThe `utilize` field. See [simply](x.md).\n\n{code}\n\n| a |\n|---|\n| just `just` |\n"
    read = list(prose.paragraphs(page))
    assert read == [(1, "Title"), (3, "The § field. See simply."), (11, "a"), (13, "just §")]
