"""What the programs say with `--help` keeps to the rule book of the prose."""

import re
import subprocess
from importlib.util import module_from_spec, spec_from_file_location

from e2e.harness import ROOT
from e2e.harness.workers import binary

spec = spec_from_file_location("prose", ROOT / "site" / "prose.py")
prose = module_from_spec(spec)
spec.loader.exec_module(prose)


def help_of(program, *words):
    done = subprocess.run([binary(program), *words, "--help"], capture_output=True, text=True, check=True)
    return done.stdout


def commands(program):
    """Every command of a program, with the words that lead to it and its help."""
    pending = [()]
    while pending:
        words = pending.pop()
        text = help_of(program, *words)
        yield words, text
        listed = re.search(r"^Commands:\n((?:  .*\n)+)", text, re.MULTILINE)
        names = re.findall(r"^  (\w[\w-]*)", listed[1], re.MULTILINE) if listed else []
        pending += [(*words, name) for name in names if name != "help"]


def paragraphs(text):
    """Its paragraphs; each line of a list, and each column of it, is one by itself."""
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n|\n(?=  [-\w])|(?<=\S) {2,}", text)]


def test_help_texts_keep_to_the_rules():
    found, read = [], 0
    for program in ("jobqueue", "jobqueue-worker", "jobqueue-operator"):
        for words, text in commands(program):
            read += 1
            for paragraph in paragraphs(text):
                found += [f"{' '.join((program, *words))}: {problem}" for problem in prose.problems(paragraph)]
    assert read >= 18, f"only {read} commands were found"
    assert not found, "\n" + "\n".join(found)
