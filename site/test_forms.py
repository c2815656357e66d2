"""The forms for issues are such that GitHub shows them, and their links lead to pages that are there."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".github" / "ISSUE_TEMPLATE"
FORMS = sorted(path for path in FOLDER.glob("*.yml") if path.stem != "config")
REPOSITORY = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]["package"]["repository"]
TYPES = {"checkboxes", "dropdown", "input", "markdown", "textarea"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_has_what_github_asks_of_it(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert form["name"] and form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in form["body"]} <= TYPES
    assert all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields) > 0
    assert any(field.get("validations", {}).get("required") for field in fields), "an empty report would be sent"


def test_links_of_the_forms_lead_to_pages_of_the_repository():
    text = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.yml"))
    pages = re.findall(rf"{REPOSITORY}/blob/main/([^)\s]+)", text)
    assert len(pages) >= 3 and all((ROOT / page).is_file() for page in pages), pages
    # GitHub shows SECURITY.md there.
    assert f"{REPOSITORY}/security/policy" in text and (ROOT / "SECURITY.md").is_file()
