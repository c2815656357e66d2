"""The first blocks of the README, and the page that goes on from it, as printed, on a bare Debian: what they need and
do not name is missing here."""

import os
import subprocess
from pathlib import Path

import pytest

from e2e.docs.blocks import read
from e2e.docs.reader import PROGRAMS, free_port_6379
from e2e.harness import ROOT
from e2e.harness.script import loaded
from e2e.harness.workers import binary, build_directory

from .bare import Bare, base

package = loaded(ROOT / "scripts" / "release" / "package")


@pytest.fixture(scope="module")
def below():
    with base() as made:
        yield made


@pytest.fixture
def bare(below, tmp_path):
    """Makes one."""
    free_port_6379()
    made = []

    def start(**options):
        made.append(Bare(below, tmp_path / str(len(made)), **options))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The programs that the check has built, without what is for debuggers, in a directory as a release has it."""
    directory = tmp_path_factory.mktemp("programs") / build_directory().parent.name
    directory.mkdir()
    for name in PROGRAMS:
        subprocess.run(["strip", "-o", directory / name, binary(name)], check=True)
    return directory


def follow(reader, blocks):
    if problem := reader.follow(blocks):
        pytest.fail(problem, pytrace=False)


def where(blocks, words):
    return next(number for number, block in enumerate(blocks) if block.kind == "run" and words in block.text)


def test_the_demo_needs_rust_and_nothing_else(bare, programs, request):
    """`./dev demo` installs the rest. It takes the programs that are built. With --full it builds them, of crates that
    this machine has."""
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], check=True, capture_output=True, text=True).stdout.strip()
    cargo = os.environ.get("CARGO_HOME", Path.home() / ".cargo")
    there = bare(given=[(sysroot, "/usr/local"), (cargo, "/root/.cargo"), (programs, "/opt/programs")])
    blocks = read("README.md")
    demo = where(blocks, "./dev demo")
    assert blocks[demo + 1].kind == "output"
    built = {"CARGO_NET_OFFLINE": "true"} if request.config.getoption("--full") else {"JOBQUEUE_BIN": "/opt/programs"}
    follow(there.reader(seconds=3600 if request.config.getoption("--full") else 300, **built), blocks[demo : demo + 2])


def test_the_package_the_readme_and_the_laptop(bare, programs):
    """The package of a release, then the README's manifest, then the page that goes on from there."""
    there = bare()
    package.debian_package(programs, package.completions([programs]), there.clone, "none")
    reader = there.reader()
    laptop, readme = read("docs/laptop.md"), read("README.md")
    installed = where(laptop, ".deb") + 1
    follow(reader, laptop[:installed])
    reader.shell.run("jobqueue --version; kubectl-jobqueue --version; jobqueue-worker --version")
    follow(reader, [readme[0], readme[where(readme, "jobqueue local")]])
    follow(reader, laptop[installed:])


def test_what_is_missing_is_named(bare, programs):
    """On the bare system, with the programs alone."""
    shell = bare(given=[(programs, "/usr/local/bin")]).reader().shell
    manifest, schema = "examples/companies/jobqueue.yaml", "examples/companies/schema/sqlite.sql"
    for command, code, words in [
        (
            f"jobqueue local -f {manifest} --schema {schema} --until-empty",
            1,
            "install it (Debian: apt-get install redis-server)",
        ),
        ("jobqueue explain companies", 2, "set KUBECONFIG"),
    ]:
        said = Path(shell.run(command, code)).read_text(encoding="utf-8")
        assert words in said, said
