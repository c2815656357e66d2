"""The dashboard of a cluster in a browser: logging in with a token, what an account sees, and out again."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from .api_server import STRANGER, TOKEN, log_in
from .conftest import Watched, hide
from .test_accessibility import SIZES


@pytest.fixture
def page(base, chromium, request):
    settings = {"viewport": SIZES["desk"], **getattr(request, "param", {})}
    context = chromium.new_context(**settings)
    context.set_default_timeout(20_000)
    watched = Watched(context.new_page(), base)
    watched.page.goto(base + "/")
    yield watched.page
    context.close()
    elsewhere = [url for url in watched.requests if not url.startswith(base + "/")]
    assert not elsewhere, elsewhere


def test_an_account_logs_in_sees_its_queues_and_logs_out(page, base):
    expect(page.get_by_role("heading", name="log in")).to_be_visible()
    log_in(page, "wrong")
    expect(page.get_by_role("alert")).to_contain_text("no token of this cluster")
    log_in(page, TOKEN)
    page.get_by_role("link", name="shop/orders", exact=True).click()
    expect(page.get_by_text("Logged in as ann.")).to_be_visible()
    expect(page.get_by_text("Live.")).to_be_visible()
    page.goto(base + "/q/mail/letters")
    expect(page.get_by_role("alert")).to_contain_text("lacks the right to get jobqueues in namespace mail")
    left_open = page.context.new_page()
    left_open.goto(base + "/")
    expect(left_open.get_by_text("Live.")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="log in")).to_be_visible()
    hide(left_open, True)
    hide(left_open, False)
    expect(left_open.locator("#connection")).to_contain_text("You are logged in no more.")
    page.goto(base + "/q/shop/orders")
    expect(page.get_by_role("heading", name="log in")).to_be_visible()


def test_an_account_without_rights_sees_nothing(page):
    log_in(page, STRANGER)
    expect(page.get_by_text("0 queues: ")).to_be_visible()
    assert "orders" not in page.inner_text("body")


@pytest.mark.parametrize(
    "page",
    [
        {"viewport": size, "color_scheme": scheme, "bypass_csp": True}
        for size in SIZES.values()
        for scheme in ("light", "dark")
    ],
    indirect=True,
    ids=[f"{size}-{scheme}" for size in SIZES for scheme in ("light", "dark")],
)
def test_axe_finds_nothing_serious(page, base):
    axe, found = Axe(), []

    def look(name):
        violations = axe.run(page).response["violations"]
        found.extend((name, each["id"]) for each in violations if each["impact"] in ("serious", "critical"))
        wide = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert wide[0] <= wide[1], f"{name} is wider than the screen: {wide}"

    look("login")
    log_in(page, "wrong")
    expect(page.get_by_role("alert")).to_be_visible()
    look("login refused")
    log_in(page, TOKEN)
    expect(page.get_by_text("Logged in as ann.")).to_be_visible()
    look("queues")
    page.goto(base + "/q/shop/orders/simulate")
    expect(page.get_by_text("Half of the jobs waited at most")).to_be_visible()
    look("simulator")
    page.goto(base + "/q/mail/letters")
    look("not allowed")
    assert not found, found
