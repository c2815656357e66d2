"""Every block of the pages says what becomes of it, and that is true as far as it can be seen without running it."""

import re
import subprocess
import textwrap

import pytest
import yaml

from e2e.harness import ROOT
from e2e.harness.manifests import Loader

from .blocks import Mistake, blocks_of, pages, read
from .printed import difference
from .reader import PROGRAMS, check_fragment


@pytest.mark.parametrize("page", pages())
def test_every_block_has_a_marker(page):
    blocks = read(page)
    for index, block in enumerate(blocks):
        if block.kind == "file":
            users = [each for each in blocks[index + 1 :] if each.kind == "run" and block.argument in each.text]
            assert users, f"{block}: no block that is run uses {block.argument}"
            above = (ROOT / page).read_text(encoding="utf-8").splitlines()[max(0, block.line - 6) : block.line - 2]
            assert any(f"`{block.argument}`" in line for line in above), (
                f"{block}: the page does not say that this is {block.argument}"
            )
        elif block.kind == "output":
            assert any(each.kind == "run" for each in blocks[:index]), f"{block}: nothing is run above this output"
        elif block.kind == "tested by":
            file, name = block.argument.split()
            source = (ROOT / file).read_text(encoding="utf-8")
            body = re.search(rf"#\[test\]\nfn {name}\(\) \{{\n(.*?)\n\}}", source, re.DOTALL)
            assert body, f"{block}: there is no test {name} in {file}"
            assert page in source and f'"{block.language}"' in body[1], (
                f"{block}: {name} does not read the {block.language} blocks of {page}"
            )
            same = sum((each.language, each.argument) == (block.language, block.argument) for each in blocks)
            assert same == 1 or f'blocks_of("{block.language}")[0]' not in body[1], (
                f"{block}: {name} reads the first {block.language} block only"
            )


@pytest.mark.parametrize(
    "page", [page for page in pages() if any(block.kind in ("merged into", "parsed") for block in read(page))]
)
def test_parts_of_manifests_are_valid(page, reader_environment, tmp_path):
    for block in read(page):
        if block.kind == "merged into":
            try:
                check_fragment(block, reader_environment, tmp_path)
            except AssertionError as problem:
                raise AssertionError(f"{block}: {problem}") from None
        elif block.kind == "parsed":
            assert yaml.load(block.text, Loader), block


def test_what_is_installed_by_cargo_is_what_these_tests_have():
    """The one step that these tests do not run: the packages that a page installs contain our programs."""
    for page in pages():
        for block in read(page):
            packages = re.findall(r"^cargo install --locked --path (\S+)$", block.text, re.MULTILINE)
            if packages:
                made = [
                    program
                    for package in packages
                    for program in re.findall(
                        r'\[\[bin\]\]\nname = "([^"]+)"', (ROOT / package / "Cargo.toml").read_text(encoding="utf-8")
                    )
                ]
                assert sorted(made) == sorted(PROGRAMS), block


PAGE = textwrap.dedent("""\
    # Title

    <!-- file: a.yaml -->
    ```yaml
    a: 1
    ```

    <!-- run: both, exit 3 -->
        echo "it's `fine`"
            indented

        after an empty line

    - a list
      goes on

    <!-- check: true -->
    <!-- run: cluster, until Done -->
        watch

    <!-- run: bare -->
        install
    """)


def test_blocks_are_found_with_their_markers():
    file, both, hidden, watch, bare = blocks_of("page", PAGE)
    assert (file.kind, file.argument, file.language, file.text, file.line) == ("file", "a.yaml", "yaml", "a: 1\n", 5)
    assert (both.where, both.code, both.text.splitlines()[-1], both.line) == (
        ("local", "bare", "cluster"),
        3,
        "after an empty line",
        9,
    )
    assert (hidden.kind, hidden.text, hidden.where) == ("check", "true", ("local", "bare"))
    assert (watch.where, watch.until) == (("cluster",), "Done")
    assert (bare.where, bare.text) == (("bare",), "install\n")


@pytest.mark.parametrize(
    "text, words",
    [
        ("```sh\nls\n```\n", "nothing says"),
        ("text\n\n    ls\n", "nothing says"),
        ("<!-- run -->\ntext\n", "no block"),
        ("<!-- run: sometimes -->\n    ls\n", "sometimes"),
        ("<!-- not run -->\n    ls\n", "lacks"),
        ("<!-- run: until x\n    ls\n", "cannot be read"),
        ("<!-- run -->\n```\nls\n", "no end"),
        ("- a list\n\n    ls\n", "list"),
    ],
)
def test_a_mistake_in_a_page_is_named(text, words):
    with pytest.raises(Mistake, match=words):
        blocks_of("page", text)


PRINTED = """\
NAME   WORKERS  REASON
q      1        Working
q      0        Idle
19,815 jobs done in 5.5 s
such as: "a" is no date
"""


@pytest.mark.parametrize(
    "shown",
    [
        "NAME WORKERS REASON\n...\nq 12 4 Idle\n",
        "  20 jobs done in 61 s\n",
        "19,815 jobs done in 5 s\n",
        "such as: …\n",
    ],
)
def test_output_may_have_other_numbers_and_leave_out_lines(shown):
    assert not difference(shown, PRINTED, ["19,815"]) and not difference(shown, PRINTED)


@pytest.mark.parametrize(
    "shown, fixed",
    [
        ("NAME WORKERS REASONS\n", []),
        ("q 0 Idle\nq 1 Working\n", []),
        ("20 jobs done in 5.5 s\n", ["20"]),
        ("q 1 Away\n", []),
        ("19,815 jobs done\n", []),
    ],
)
def test_output_has_the_same_words(shown, fixed):
    assert "was not printed" in difference(shown, PRINTED, fixed)


def test_the_pages_of_the_repository_are_all_read():
    listed = subprocess.run(
        ["git", "ls-files", "README.md", "docs/*.md", "examples/**/*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    tracked = {
        page for page in listed.stdout.splitlines() if not page.startswith(("docs/decisions/", "docs/measurements/"))
    }
    assert tracked <= set(pages())
