"""What a person does with it: find a queue, see what failed and why, and do something about it."""

import pytest
from playwright.sync_api import expect

from e2e.harness.process import free_port
from e2e.harness.waiting import until

from .conftest import Dashboard, hide
from .failures import fail, wait


def failed(redis, queue):
    return redis.zcard(f"rq:failed:{queue}")


def waiting(redis, queue):
    return redis.llen(f"rq:queue:{queue}")


def to_causes(page, queue):
    page.get_by_role("link", name=f"local/{queue}", exact=True).click()
    page.get_by_role("link", name="Failed jobs", exact=True).first.click()


def test_from_the_list_to_a_cause_that_is_requeued(dashboard, opened):
    page, redis = opened(dashboard), dashboard.redis.client()
    to_causes(page, "companies")
    expect(page.get_by_text("52 jobs of 2 causes.")).to_be_visible()
    page.get_by_role("link", name="is not a date").click()
    expect(page.get_by_text("40 jobs of this cause")).to_be_visible()
    page.get_by_role("link", name="Requeue 40…").click()
    expect(page.get_by_role("heading", name="Requeue 40 jobs?")).to_be_visible()
    assert failed(redis, "companies") == 52, "nothing happens before it is confirmed"
    page.get_by_role("button", name="Requeue 40 jobs").click()
    expect(page.get_by_text("40 jobs requeued of 40.")).to_be_visible()
    assert (failed(redis, "companies"), waiting(redis, "companies")) == (12, 40)
    page.get_by_role("link", name="Back to the failed jobs").click()
    expect(page.get_by_text("12 jobs of 1 cause.")).to_be_visible()


def test_two_tabs_do_not_do_the_same_twice(dashboard, opened):
    page, redis = opened(dashboard), dashboard.redis.client()
    other = page.context.new_page()
    page.goto(f"{dashboard.base}/q/local/companies/failed/confirm?action=requeue&scope=all")
    other.goto(f"{dashboard.base}/q/local/companies/failed/confirm?action=purge&scope=all")
    page.get_by_role("button", name="Requeue 52 jobs").click()
    expect(page.get_by_text("52 jobs requeued of 52.")).to_be_visible()
    other.get_by_role("button", name="Purge 52 jobs").click()
    expect(other.get_by_text("0 jobs removed of 52.")).to_be_visible()
    expect(other.get_by_text("52 jobs had been dealt with by somebody else.")).to_be_visible()
    assert (failed(redis, "companies"), waiting(redis, "companies")) == (0, 52)


def test_a_traceback_has_its_exception_above_it_and_another_error_is_not_said_twice(dashboard, opened):
    page, redis = opened(dashboard), dashboard.redis.client()
    frames = '  File "x.py", line 3, in f\n' * 2_000
    fail(redis, "calm", [("deep", "{}", f"Traceback (most recent call last):\n{frames}RecursionError: too deep", 1)])
    fail(redis, "calm", [("flat", "{}", "name is too long\njob flat of queue calm", 1)])
    job = f"{dashboard.base}/q/local/calm/failed/job?queue=calm&id="
    page.goto(job + "deep")
    # The text itself is cut before its end.
    expect(page.get_by_text("RecursionError: too deep")).to_have_count(1)
    expect(page.get_by_text("RecursionError: too deep")).to_be_visible()
    page.goto(job + "flat")
    expect(page.get_by_text("name is too long")).to_have_count(1)


def test_one_job_is_shown_with_its_record_and_removed(dashboard, opened):
    page, redis = opened(dashboard), dashboard.redis.client()
    to_causes(page, "companies")
    page.get_by_role("link", name="characters are too many").click()
    page.get_by_role("link", name="long-0", exact=True).click()
    expect(page.get_by_role("region", name="Record")).to_contain_text('"No": 0')
    expect(page.get_by_role("region", name="Error")).to_contain_text("name: 0 characters are too many")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export", exact=True).click()
    assert download.value.path().read_text() == '{"No": 0}\n'
    page.get_by_role("link", name="Purge…").click()
    page.get_by_role("link", name="Cancel").click()
    assert failed(redis, "companies") == 52
    page.go_back()
    page.get_by_role("button", name="Purge 1 job").click()
    expect(page.get_by_text("1 job removed of 1.")).to_be_visible()
    assert failed(redis, "companies") == 51
    assert not redis.exists("rq:job:long-0")


def test_the_list_is_filtered_and_shows_who_works(dashboard, opened):
    page = opened(dashboard)
    page.get_by_label("Name, state or reason").fill("ORD")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 match.")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="local/orders", exact=True).click()
    worker = page.locator("#workers tbody tr")
    expect(worker).to_contain_text("host-of-worker-1")
    expect(worker).to_contain_text("orders-waits-0")
    expect(worker).to_contain_text("1,234")


def test_sliders_of_the_simulator_are_followed_without_a_reload(dashboard, opened):
    page = opened(dashboard)
    page.get_by_role("link", name="local/orders", exact=True).click()
    page.get_by_role("link", name="Simulator", exact=True).click()
    expect(page.get_by_text("Half of the jobs waited at most")).to_be_visible()
    expect(page.get_by_text("with 250 jobs at the start")).to_be_visible()
    page.evaluate("window.sameDocument = true")
    slider = page.get_by_label("Every job begins within")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "3 s"
    expect(page.locator("output[for=maxWaitSeconds]")).to_have_text("3 s")
    lines = page.get_by_role("region", name="The manifest's lines")
    expect(lines).to_have_text("spec:\n  scaling:\n    targets:\n      maxWaitSeconds: 3\n")
    expect(page.get_by_role("columnheader", name="These settings")).to_be_visible()
    assert page.evaluate("window.sameDocument"), "the document was loaded again"
    expect(slider).to_be_focused()
    # The address has the settings: it can be passed on.
    page.reload()
    expect(lines).to_contain_text("maxWaitSeconds: 3")


def test_the_simulator_works_without_scripts(dashboard, opened):
    page = opened(dashboard, java_script_enabled=False)
    page.goto(f"{dashboard.base}/q/local/orders/simulate")
    page.get_by_label("The most workers").press("ArrowLeft")
    page.get_by_role("button", name="Simulate").click()
    expect(page.get_by_role("region", name="The manifest's lines")).to_contain_text("maxReplicas: 8")
    expect(page.locator("output[for=maxReplicas]")).to_have_text("8 workers")


def test_hundreds_of_causes_have_pages_and_are_found(dashboard, opened):
    page, redis = opened(dashboard), dashboard.redis.client()
    words = [a + b for a in "ghijklmnopqrstu" for b in "ghijklmnopqrstu"]
    fail(redis, "calm", [(f"of-{word}", "{}", f"trouble with {word}", n) for n, word in enumerate(words)])
    page.goto(f"{dashboard.base}/q/local/calm/failed")
    expect(page.get_by_text("225 jobs of 225 causes.")).to_be_visible()
    causes = page.locator("#causes tbody th a")
    expect(causes).to_have_count(100)
    assert causes.first.inner_text() == "trouble with gg", "of causes that are as frequent the latest comes first"
    page.get_by_role("link", name="Next page").click()
    page.get_by_role("link", name="Next page").click()
    expect(causes).to_have_count(25)
    expect(page.get_by_text("Page 3 of 3")).to_be_visible()
    page.get_by_label("Cause or function").fill("WITH UU")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 match.")).to_be_visible()
    expect(causes).to_have_text(["trouble with uu"])
    page.get_by_role("link", name="Show all").click()
    expect(causes).to_have_count(100)


def test_a_purge_offers_an_export_before_and_says_what_it_leaves_out(dashboard, opened):
    page, redis = opened(dashboard), dashboard.redis.client()
    redis.hset("rq:job:late-1", "data", b"no pickle")
    page.goto(f"{dashboard.base}/q/local/companies/failed")
    page.get_by_role("link", name="Purge 52…").click()
    expect(page.get_by_text("There is no way back.")).to_be_visible()
    expect(page.get_by_text("1 job of these cannot be exported")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export 52 jobs").click()
    assert len(download.value.path().read_text().splitlines()) == 51
    assert failed(redis, "companies") == 52


def test_a_page_left_open_says_that_the_dashboard_is_away_and_goes_on_with_the_next_one(
    queues, redis, chromium, tmp_path
):
    port = str(free_port())
    first = Dashboard(tmp_path, redis, "--port", port)
    # Chromium complains of a server that is away, so that nobody watches the console here.
    context = chromium.new_context()
    page = context.new_page()
    page.goto(first.url)
    page.wait_for_url(first.base + "/")
    connection = page.locator("#connection")
    expect(connection).to_have_text("Live.")
    page.evaluate("window.sameDocument = true")
    first.process.stop()
    expect(connection).to_contain_text("does not answer")
    expect(connection).to_be_in_viewport()
    second = Dashboard(tmp_path, redis, "--port", port)
    # It has another token, and another browser tab is given it.
    expect(connection).to_contain_text("started again")
    other = context.new_page()
    other.goto(second.url)
    expect(connection).to_have_text("Live.")
    wait(redis.client(), "companies", 7)
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="local/companies", exact=True))
    expect(row.locator("td").nth(2)).to_have_text("7")
    assert page.evaluate("window.sameDocument"), "the document was loaded again"
    context.close()
    assert second.process.stop() == 0


def test_many_tabs_do_not_wait_for_each_other(dashboard, opened):
    page, redis = opened(dashboard), dashboard.redis.client()
    # Chromium has six connections to a host.
    for _ in range(8):
        hide(page, True)
        page = page.context.new_page()
        page.goto(f"{dashboard.base}/q/local/calm")
        expect(page.get_by_text("Live.")).to_be_visible()
    first = page.context.pages[0]
    hide(page, True)
    wait(redis, "companies", 9)
    hide(first, False)
    row = first.get_by_role("row").filter(has=first.get_by_role("link", name="local/companies", exact=True))
    expect(row.locator("td").nth(2)).to_have_text("9")


def test_read_only_offers_no_change(read_only, opened):
    page = opened(read_only)
    expect(page.get_by_text("read only")).to_be_visible()
    to_causes(page, "companies")
    expect(page.get_by_text("52 jobs of 2 causes.")).to_be_visible()
    assert page.get_by_role("link", name="Requeue").count() == 0
    assert page.get_by_role("link", name="Export 52").count() == 1


@pytest.mark.parametrize("scripts", [True, False])
def test_hostile_records_are_text(dashboard, opened, scripts):
    page = opened(dashboard, java_script_enabled=scripts)
    to_causes(page, "hostile")
    causes = page.locator("#causes tbody th a")
    expect(causes).to_have_count(6)
    shown = page.locator("#causes").inner_text()
    assert "<script>window.pwned=1</script>" in shown
    assert "\\u{202e}gnp.exe" in shown and "\u202e" not in shown
    for link in [causes.nth(n).get_attribute("href") for n in range(6)]:
        page.goto(dashboard.base + link)
        page.locator("#jobs tbody th a").click()
        expect(page.get_by_role("region", name="Record")).to_be_visible()
        page.get_by_role("link", name="Requeue…").click()
        expect(page.get_by_role("heading", name="Requeue 1 job?")).to_be_visible()
    # The fixture asserts that no dialog opened and that nobody else was asked.


def test_it_follows_what_happens_without_being_loaded_again(dashboard, opened):
    page, redis = opened(dashboard), dashboard.redis.client()
    expect(page.get_by_text("Live.")).to_be_visible()
    page.evaluate("window.sameDocument = true")
    link = page.get_by_role("link", name="local/companies", exact=True)
    link.focus()
    wait(redis, "companies", 7)
    row = page.get_by_role("row").filter(has=link)
    expect(row.locator("td").nth(2)).to_have_text("7")
    fail(redis, "calm", [("new", "{}", "broken", 1)])
    expect(page.get_by_role("link", name="1 job failed in local/calm")).to_be_visible()
    assert page.evaluate("window.sameDocument"), "the document was loaded again"
    focused = page.evaluate("document.activeElement.textContent")
    assert focused == "local/companies", "the focus moved"


def test_it_works_without_scripts_and_with_the_keyboard(dashboard, opened):
    page, redis = opened(dashboard, java_script_enabled=False), dashboard.redis.client()
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Name, state or reason")).to_be_focused()
    to_causes(page, "companies")
    page.get_by_role("link", name="Purge 52…").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Purge 52 jobs").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("52 jobs removed of 52.")).to_be_visible()
    until(lambda: failed(redis, "companies") == 0, "the registry is empty")


def test_another_browser_is_not_let_in(dashboard, opened, chromium):
    opened(dashboard)
    context = chromium.new_context()
    page = context.new_page()
    answer = page.goto(dashboard.base + "/q/local/companies")
    assert answer.status == 401
    assert "companies" not in page.inner_text("body")
    context.close()
