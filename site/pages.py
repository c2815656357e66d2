"""What MkDocs asks for while it builds the site: pages from outside `docs/`, their links, and the version.

The pages are written to be read in the repository, with relative links to any of its files. A link to a file that is
no page of the site leads to that file in the repository.
"""

import os
import re
import tomllib
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]["package"]
VERSION = os.environ.get("SITE_VERSION", "unreleased")
REPOSITORY = f"{PACKAGE['repository']}/blob/{'main' if VERSION == 'unreleased' else f'v{VERSION}'}"

# Pages from outside docs/ have the same path in the site as in the repository.
OTHERS = ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "examples/*/README.md"]
# Folders of docs/ whose pages are listed by their titles.
LISTED = ["decisions", "measurements"]
# Whoever searches wants to use it: records of the work come after the pages about it.
RECORDS = (*LISTED, "CHANGELOG.md", "ARCHITECTURE.md", "CONTRIBUTING.md")
LOWERED = 0.1

FENCE = re.compile(r"(\s*(?:```|~~~)\S*)")
TARGET = re.compile(r"(?<=\]\()(?P<file>[^)#\s]*)(?P<anchor>#[^)\s]*)?(?=\))")


def dated(folder):
    return sorted((path.name for path in (ROOT / "docs" / folder).glob("[0-9]*.md")), reverse=True)


def others(folder):
    """The pages of a folder without dates, besides the one that introduces it."""
    return sorted(path.name for path in (ROOT / "docs" / folder).glob("[!0-9]*.md") if path.name != "README.md")


def title(path):
    return path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def on_config(config):
    def expanded(entry):
        if isinstance(entry, str) or not entry:
            return entry
        [(name, value)] = entry.items()
        if isinstance(value, list):
            return {name: [expanded(each) for each in value]}
        if value.endswith("/"):
            return {name: [f"{value}README.md", *(value + page for page in dated(value) + others(value))]}
        return entry

    config.nav = [expanded(entry) for entry in config.nav]
    config.copyright = f"{PACKAGE['license']} · version {VERSION} · <a href='{PACKAGE['repository']}'>repository</a>"
    return config


def on_files(files, config):
    for pattern in OTHERS:
        for path in sorted(ROOT.glob(pattern)):
            files.append(
                File.generated(config, path.relative_to(ROOT).as_posix(), content=path.read_text(encoding="utf-8"))
            )
    for folder in LISTED:
        lines = [f"- [{title(ROOT / 'docs' / folder / page)}]({page})" for page in dated(folder)]
        text = "\n".join([f"# {folder.capitalize()}", "", *lines, ""])
        files.append(File.generated(config, f"{folder}/README.md", content=text))
    return files


def in_repository(uri):
    """The path of a page from the top of the repository."""
    return uri if (ROOT / uri).exists() and not (ROOT / "docs" / uri).exists() else f"docs/{uri}"


def on_page_markdown(markdown, page, config, files):
    here = page.file.src_uri
    if here.startswith(RECORDS):
        page.meta["search"] = {"boost": LOWERED}
    pages = {in_repository(file.src_uri): file.src_uri for file in files}
    pages |= {f"docs/{folder}": f"{folder}/README.md" for folder in LISTED}

    def link(found):
        file, anchor = found["file"], found["anchor"] or ""
        if not file or ":" in file:
            return found[0]
        path = normpath(join(dirname(in_repository(here)), file))
        if path in pages:
            return relpath(pages[path], dirname(here) or ".") + anchor
        if not (ROOT / path).exists():
            raise PluginError(f"{in_repository(here)}: there is no {path}")
        return f"{REPOSITORY}/{path}{anchor}"

    def rewritten(line):
        # What stands between backticks is no link.
        return "`".join(TARGET.sub(link, part) if n % 2 == 0 else part for n, part in enumerate(line.split("`")))

    lines, fenced = [], False
    for line in markdown.split("\n"):
        fence = FENCE.match(line)
        fenced ^= bool(fence)
        if fence:
            lines.append(fence[1])  # the language; tests read what a page says beside it
        else:
            lines.append(line if fenced or line.startswith("    ") else rewritten(line))
    return "\n".join(lines)
