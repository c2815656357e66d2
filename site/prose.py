"""Reads prose by the rule book `prose.toml`: words that say nothing, promises, sentences that are too long.

`paragraphs` takes a page apart, `problems` reads one paragraph. Help texts are read in `e2e/docs/test_help.py`.
"""

import re
import tomllib
from pathlib import Path

RULES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
# What stands for code in a sentence: one word, which no rule is for.
CODE = "§"
CONTRACTION = re.compile(r"\b\w+(?:n't|'re|'ll|'ve)\b")
TWICE = re.compile(r"\b(\w+) \1\b")
# The end of a sentence: a stop that something new follows. An abbreviation is no end. What stands between semicolons
# and colons is read as a sentence.
END = re.compile(r"(?<![Ee]\.g\.)(?<!i\.e\.)(?<!vs\.)(?<=[.!?])[)\"”]*\s+(?=[A-Z0-9(\"§`*])|(?<=[;:])\s+")


def _pattern(phrase):
    text = re.escape(phrase).replace(r"\*", r"\w*")
    return re.compile(rf"(?<![\w-]){text}(?![\w-])", re.IGNORECASE)


WORDS = [(_pattern(phrase), instead) for phrase, instead in RULES["words"].items()]
PROMISES = [_pattern(phrase) for phrase in RULES["promises"]["phrases"]]
THINGS = re.compile(rf"\b(?:{'|'.join(RULES['things']['names'])})s?,? who\b", re.IGNORECASE)


def paragraphs(markdown):
    """The paragraphs, headings, items and cells of a page, each with its line, counted from 1."""
    from markdown_it import MarkdownIt  # help texts are read where it is not installed

    line = 0
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        line = token.map[0] + 1 if token.map else line
        if token.type == "inline":
            text = ""
            for part in token.children:
                # A picture's text is in its children, and stands alone.
                text += {"code_inline": CODE, "softbreak": " ", "hardbreak": " ", "image": ""}.get(
                    part.type, part.content
                )
            yield line, text.strip()


def sentences(text):
    return [sentence for sentence in END.split(text) if sentence.strip()]


def length(sentence):
    """Its words; a number, a name and code are one each."""
    return len([word for word in sentence.split() if re.search(r"[\w§]", word)])


def problems(text):
    """What the rule book says against a paragraph."""
    for pattern, instead in WORDS:
        for found in pattern.finditer(text):
            yield f"'{found[0]}': write {instead}"
    for pattern in PROMISES:
        for found in pattern.finditer(text):
            yield f"'{found[0]}' is a promise: write what is, and what is missing in docs/roadmap.md"
    for found in CONTRACTION.finditer(text):
        yield f"'{found[0]}': write both words"
    for found in TWICE.finditer(text):
        yield f"'{found[0]}': a word twice"
    for found in THINGS.finditer(text):
        yield f"'{found[0]}': a program is a thing; write that or which"
    for sentence in sentences(text):
        if length(sentence) > RULES["sentences"]["words"]:
            yield f"{length(sentence)} words in a sentence: '{sentence[:60]}...'; make two of it"
