"""axe finds nothing serious, in light and dark, on a desk and on a phone. The pictures of the docs are made here."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "dashboard"
PICTURED = ("queues", "queue", "failed", "simulator")
SIZES = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


def pages(page, base):
    """Visits a page of each kind; yields its name."""
    yield "queues"
    page.get_by_role("link", name="local/orders", exact=True).click()
    expect(page.locator(".chart svg").first).to_be_visible()
    yield "queue"
    page.get_by_role("link", name="Simulator", exact=True).click()
    page.get_by_label("The most workers").press("ArrowLeft")
    expect(page.get_by_role("region", name="The manifest's lines")).to_contain_text("maxReplicas: 8")
    yield "simulator"
    page.goto(f"{base}/q/local/companies/failed")
    expect(page.get_by_text("52 jobs of 2 causes.")).to_be_visible()
    yield "failed"
    page.get_by_role("link", name="is not a date").click()
    yield "cause"
    page.locator("#jobs tbody th a").first.click()
    yield "job"
    page.get_by_role("link", name="Purge…").click()
    yield "confirm"
    page.goto(f"{base}/q/local/hostile/failed")
    yield "hostile"
    page.get_by_role("link", name="ValueError: MMM").click()
    page.locator("#jobs tbody th a").first.click()
    expect(page.get_by_text("ValueError: MMM").first).to_be_visible()
    yield "megabyte"
    page.goto(f"{base}/q/local/no-such-queue")
    yield "missing"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_serious(dashboard, opened, scheme, size, pytestconfig):
    # The page that is missing is one on purpose, and Chromium says so on the console.
    page = opened(dashboard, viewport=SIZES[size], color_scheme=scheme, bypass_csp=True)
    axe, found = Axe(), []
    for name in pages(page, dashboard.base):
        violations = axe.run(page).response["violations"]
        found += [
            (name, each["id"], each["impact"], [node["html"][:200] for node in each["nodes"]][:3])
            for each in violations
            if each["impact"] in ("serious", "critical")
        ]
        wide = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert wide[0] <= wide[1], f"{name} is wider than the screen: {wide}"
        if pytestconfig.getoption("--pictures") and name in PICTURED and (size, scheme) == ("desk", "light"):
            PICTURES.mkdir(exist_ok=True)
            page.screenshot(path=PICTURES / f"{name}.png", full_page=name == "simulator")
    assert not found, found
