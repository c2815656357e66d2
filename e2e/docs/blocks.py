"""The code blocks of the pages, and the marker above each that says what becomes of it.

A marker is an HTML comment on the line above a block; a reader of the page does not see it:

    run                     the block is run in a shell, from the top of a clone, after the blocks above it
    run: cluster            ... in the tests with a cluster
    run: both               ... in the tests without a cluster and in those with one
    run: bare               ... on a bare Debian only (`e2e/stranger`), which also runs what needs no cluster
    file: NAME              the block is saved under that name, for the blocks below it
    output                  what the block above it that was run prints; see `printed.py`
    output: NUMBER ...      ... and these numbers are the same in every run
    merged into: MANIFEST   part of a JobQueue, valid when it is merged into that one
    values of: CHART        values with which Helm renders that chart
    rules of: CHART         the rules of the chart's PrometheusRule
    parsed: REASON          YAML that nothing here can check further
    tested by: FILE NAME    a test in Rust holds the page to the code
    not run: REASON         neither run nor checked

Conditions follow `run`, separated by commas: `exit 3` (the last command ends so), `until TEXT` (the last command goes
on until a reader presses Ctrl-C, which is done when it has printed that text), `on kind` and `on containerd` (where
the nodes are such).

Two more markers belong to no block. `check: COMMAND` and `check in the cluster: COMMAND` are run where they stand and
have no counterpart on the page: they wait for what a reader waits for, or shorten a wait.
"""

import re
from dataclasses import dataclass, field

from e2e.harness import ROOT

COMMENT = re.compile(r"<!-- (?P<kind>[a-z ]+?)(?:: (?P<argument>.*?))? -->\s*")
FENCE = re.compile(r"\s*(?P<fence>```+|~~~+)(?P<language>[^`]*)")
ITEM = re.compile(r"\s*([-*+]|\d+[.)])\s")

KINDS = {"run", "file", "output", "merged into", "values of", "rules of", "parsed", "tested by", "not run"}
WITHOUT_ARGUMENT = {"run", "output"}
HIDDEN = {"check": ("local", "bare"), "check in the cluster": ("cluster",)}
# Whatever looks like a marker and is none is a mistake; other comments are none of ours.
LOOKS_LIKE = re.compile(r"\s*<!--\s*(" + "|".join(sorted(KINDS | set(HIDDEN))) + r")\b")


class Mistake(AssertionError):
    """A page that cannot be followed: a block without a marker, or a marker that nobody understands."""


@dataclass
class Block:
    """One block; `line` is the number of its first line, from 1."""

    page: str
    line: int
    language: str
    text: str
    kind: str = ""
    argument: str = ""
    where: tuple = ()
    code: int = 0
    until: str = ""
    conditions: tuple = field(default=())

    def __str__(self):
        return f"{self.page}:{self.line}"

    def runs(self, where):
        """Whether it is part of the tests called `where`: local, bare or cluster."""
        return self.kind == "file" or where in self.where


def pages():
    """The pages whose blocks are followed, by their paths from the top of the repository."""
    patterns = ("README.md", "docs/*.md", "docs/runbooks/*.md", "examples/**/*.md")
    found = [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    return [str(path.relative_to(ROOT)) for path in found]


def read(page):
    return blocks_of(page, (ROOT / page).read_text(encoding="utf-8"))


def blocks_of(page, text):
    """The blocks in their order, hidden commands included."""
    found, marker, lines = [], None, text.split("\n")
    number, in_list = 0, False
    while number < len(lines):
        line = lines[number]
        fence = FENCE.fullmatch(line)
        comment = COMMENT.fullmatch(line)
        if fence:
            end = next((n for n in range(number + 1, len(lines)) if lines[n].strip() == fence["fence"]), None)
            if end is None:
                raise Mistake(f"{page}:{number + 1}: this fence has no end")
            indent = len(line) - len(line.lstrip())
            body = [each[min(indent, len(each) - len(each.lstrip())) :] for each in lines[number + 1 : end]]
            found.append(_marked(page, number + 2, fence["language"].strip(), body, marker))
            marker, number = None, end + 1
        elif line.startswith("    ") and line.strip() and (number == 0 or not lines[number - 1].strip() or marker):
            if in_list:
                raise Mistake(f"{page}:{number + 1}: an indented block in a list; use a fence")
            end = number
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            while not lines[end - 1].strip():
                end -= 1
            found.append(_marked(page, number + 1, "", [each[4:] for each in lines[number:end]], marker))
            marker, number = None, end
        else:
            if marker:
                raise Mistake(f"{page}:{number}: there is no block below this marker")
            if comment and comment["kind"] in HIDDEN:
                where = HIDDEN[comment["kind"]]
                found.append(Block(page, number + 1, "", comment["argument"] or "", "check", where=where))
            elif comment and comment["kind"] in KINDS:
                marker = comment["kind"], comment["argument"] or ""
            elif LOOKS_LIKE.match(line):
                raise Mistake(f"{page}:{number + 1}: a marker that cannot be read: {line}")
            if line.strip() and not line.startswith(" "):
                in_list = bool(ITEM.match(line))
            number += 1
    return found


def _marked(page, line, language, body, marker):
    block = Block(page, line, language, "\n".join(body) + "\n")
    if not marker:
        raise Mistake(
            f"{block}: nothing says what becomes of this block; e2e/docs/blocks.py has the markers:\n{block.text}"
        )
    block.kind, block.argument = marker
    if not block.argument and block.kind not in WITHOUT_ARGUMENT:
        raise Mistake(f"{block}: '{block.kind}' lacks what follows the colon")
    if block.kind == "run":
        _conditions(block)
    return block


def _conditions(block):
    block.where = ("local", "bare")
    rest = block.argument
    while rest:
        if rest.startswith("until "):
            block.until, rest = rest.removeprefix("until ").strip('"'), ""
            continue
        condition, _, rest = rest.partition(", ")
        if condition == "cluster":
            block.where = ("cluster",)
        elif condition == "both":
            block.where = ("local", "bare", "cluster")
        elif condition == "bare":
            block.where = ("bare",)
        elif re.fullmatch(r"exit \d+", condition):
            block.code = int(condition.removeprefix("exit "))
        elif condition in ("on kind", "on containerd"):
            block.conditions += (condition,)
        else:
            raise Mistake(f"{block}: '{condition}' is no condition")
