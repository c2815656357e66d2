"""The site that `./dev site` has built: whole, as the pages are read in the repository, and without any other host."""

import json
import re
from html.parser import HTMLParser
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
BUILT = ROOT / "target" / "site" / "unreleased"
# What a browser loads by itself, by element and attribute.
LOADED = {
    ("audio", "src"), ("embed", "src"), ("iframe", "src"), ("image", "href"), ("img", "src"), ("img", "srcset"),
    ("input", "src"), ("link", "href"), ("object", "data"), ("script", "src"), ("source", "src"), ("source", "srcset"),
    ("track", "src"), ("use", "href"), ("video", "poster"), ("video", "src"),
}  # fmt: skip
COUNTED = ("blockquote", "h1", "h2", "h3", "h4", "img", "li", "ol", "pre", "table", "td", "th", "tr", "ul")
# The theme's script names these hosts for what no page of ours has: each with the element that would make it ask.
HOSTS_OF_THE_THEME = {
    "unpkg.com": 'class="mermaid"',
    "api.github.com": 'data-md-component="source"',
    "gitlab.com": 'data-md-component="source"',
}

loader = SourceFileLoader("build", str(ROOT / "site" / "build"))
build = module_from_spec(spec_from_loader("build", loader))
loader.exec_module(build)


class Elements(HTMLParser):
    """The elements of a page, and within its article how many of each there are."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.policies, self.counts = [], [], dict.fromkeys(COUNTED, 0)
        self.article = "<article" not in text
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.article |= tag == "article"
        if self.article and tag in COUNTED:
            self.counts[tag] += 1
        if tag == "meta" and given.get("http-equiv") == "Content-Security-Policy":
            self.policies.append(given["content"])
        self.loaded += [value for name, value in attributes if (tag, name) in LOADED and value]

    def handle_endtag(self, tag):
        self.article &= tag != "article"


def built():
    return sorted(path for path in BUILT.rglob("*.html") if path.name != "404.html")


def source(page):
    """The file of the repository that a page was made of; nothing for a list of pages."""
    path = page.relative_to(BUILT).with_suffix(".md")
    names = [path, path.with_name("README.md")] if path.name == "index.md" else [path]
    found = [ROOT / folder / name for name in names for folder in ("docs", ".") if (ROOT / folder / name).exists()]
    return found[0] if found else None


def other_host(address):
    return bool(re.match(r"\s*(?:[a-z][a-z0-9+.-]*:)?//", address, re.IGNORECASE))


def test_every_page_of_the_repository_is_there():
    sources = {source(page) for page in built()}
    written = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md"), ROOT / "CHANGELOG.md"]
    assert len(written) > 40
    assert not set(written) - sources


@pytest.mark.parametrize("page", built(), ids=lambda page: str(page.relative_to(BUILT)))
def test_a_page_loads_nothing_from_another_host(page):
    text = page.read_text(encoding="utf-8")
    elements = Elements(text)
    assert elements.loaded, "a page has a style sheet"
    assert not [address for address in elements.loaded if other_host(address)]
    assert not [found for found in re.findall(r"url\(['\"]?([^)]*)", text) if other_host(found)]
    # A browser refuses what this list has missed.
    [policy] = elements.policies
    assert "http" not in policy and "*" not in policy and policy.startswith("default-src 'self'")
    for host, element in HOSTS_OF_THE_THEME.items():
        assert element not in text, f"this element asks {host}"


def test_styles_and_scripts_load_nothing_from_another_host():
    styles, scripts = sorted(BUILT.rglob("*.css")), sorted(BUILT.rglob("assets/**/*.js"))
    assert styles and scripts
    for path in styles:
        text = path.read_text(encoding="utf-8")
        addresses = re.findall(r"url\(\s*['\"]?([^)'\"]*)", text) + re.findall(r"@import\s*['\"]([^'\"]*)", text)
        assert not [each for each in addresses if other_host(each)], path
    for path in scripts:
        code = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        hosts = set(re.findall(r"[\"'`](?:https?:)?//([a-z0-9-]+(?:\.[a-z0-9-]+)+)[^\"'` ]*[\"'`]", code))
        assert hosts <= HOSTS_OF_THE_THEME.keys() | {"www.w3.org"}, path


@pytest.mark.parametrize(
    "page", [each for each in built() if source(each)], ids=lambda page: str(page.relative_to(BUILT))
)
def test_a_page_has_the_parts_that_it_has_in_the_repository(page):
    """GitHub reads Markdown by another rule book than MkDocs: a list without an empty line above it, for one."""
    text = source(page).read_text(encoding="utf-8")
    rendered = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    assert Elements(page.read_text(encoding="utf-8")).counts == Elements(rendered).counts


def test_the_search_finds_records_of_the_work_after_the_pages_about_it():
    index = json.loads((BUILT / "search" / "search_index.json").read_text(encoding="utf-8"))
    lowered = {entry["location"].split("#")[0] for entry in index["docs"] if entry.get("boost", 1) < 1}
    assert any(location.startswith("measurements/") for location in lowered)
    assert "CHANGELOG.html" in lowered
    assert not {"scaling.html", "troubleshooting.html", "reference.html", "runbooks/README.html"} & lowered


def test_the_search_knows_every_page():
    index = json.loads((BUILT / "search" / "search_index.json").read_text(encoding="utf-8"))
    pages = {entry["location"].split("#")[0] for entry in index["docs"]}
    assert pages >= {str(page.relative_to(BUILT)) for page in built()} - {"index.html"}
    assert any("jobsPerWorker" in entry["text"] for entry in index["docs"])


def test_releases_are_sorted_and_the_newest_is_shown(tmp_path):
    for name in ("0.9.0", "0.10.0", "0.10.0-rc.2", "unreleased", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").touch()
    build.write_switch(tmp_path)
    rows = json.loads((tmp_path / "versions.json").read_text(encoding="utf-8"))
    assert [row["version"] for row in rows] == ["0.10.0", "0.10.0-rc.2", "0.9.0", "unreleased"]
    assert [row["aliases"] for row in rows] == [["latest"], [], [], []]
    assert 'url=0.10.0/index.html"' in (tmp_path / "index.html").read_text(encoding="utf-8")
