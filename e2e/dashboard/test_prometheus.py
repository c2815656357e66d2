"""The charts of `--prometheus`, with a real Prometheus that has scraped the operator for hours."""

import re
import time

import pytest
from playwright.sync_api import expect

from e2e.harness.prometheus import Prometheus

from .api_server import TOKEN, log_in

STEP = 60
HOURS = 5
# Each metric that the page asks for: long ago, and since then.
VALUES = {
    "waiting": (9000, 40),
    "running": (8, 2),
    "failed": (17, 3),
    "oldest_wait_seconds": (100, 5),
    "arrivals_per_second": (55, 1.5),
    "completions_per_second": (44, 1.4),
    "desired_workers": (12, 2),
}


def history(now):
    """What an operator told of shop/orders; half way another pod began to lead."""
    text = []
    begins, changes = now - HOURS * 3600, now - HOURS * 1800
    for name, (before, since) in VALUES.items():
        metric = f"jobqueue_operator_queue_{name}"
        text.append(f"# TYPE {metric} gauge")
        for pod, value, start, end in (("a", before, begins, changes), ("b", since, changes, now)):
            labels = f'namespace="shop",jobqueue="orders",pod="operator-{pod}"'
            text += [f"{metric}{{{labels}}} {value} {at}" for at in range(start, end, STEP)]
        # Another queue, which is not shown.
        other = 'namespace="mail",jobqueue="orders",pod="operator-a"'
        text += [f"{metric}{{{other}}} 77777 {at}" for at in range(begins, now, STEP)]
    condition = "jobqueue_operator_queue_condition"
    text.append(f"# TYPE {condition} gauge")
    for reason, value, start, end in (("Unreachable", 0, begins, changes), ("Reachable", 1, changes, now)):
        labels = f'namespace="shop",jobqueue="orders",condition="DatabaseReachable",reason="{reason}"'
        text += [f"{condition}{{{labels}}} {value} {at}" for at in range(start, end, STEP)]
    return "\n".join(text) + "\n# EOF\n"


@pytest.fixture
def prometheus(tmp_path):
    server = Prometheus(tmp_path / "prometheus", history=history(int(time.time()) // STEP * STEP))
    yield server
    server.stop()


def test_charts_show_hours_across_a_change_of_the_leader(prometheus, base, chromium):
    page = chromium.new_page()
    page.set_default_timeout(20_000)
    page.goto(base + "/")
    log_in(page, TOKEN)
    page.get_by_role("link", name="shop/orders", exact=True).click()
    expect(page.get_by_role("img", name=re.compile("^Backlog: now"))).to_be_visible()

    def shown(name):
        said = page.get_by_role("img", name=re.compile(f"^{name}: now")).get_attribute("aria-label")
        pattern = r".*: now ([\d.]+).*, between ([\d.]+).* and ([\d.]+).* in the last (\d+) h"
        now, lowest, most, hours = (float(number) for number in re.fullmatch(pattern, said).groups())
        # Whole hours; the first minutes may be missing.
        assert HOURS - 1 <= hours <= HOURS, said
        return now, lowest, most

    # Whoever waits or runs is part of the backlog.
    assert shown("Backlog") in {(42, 42, 9008), (40, 40, 9000)}
    assert shown("Oldest wait") == (5, 5, 100)
    assert shown("Arrive") == (1.5, 1.5, 55)
    assert shown("End") == (1.4, 1.4, 44)
    assert shown("Workers") == (2, 2, 12)
    assert shown("Failed") == (3, 3, 17)
    assert shown("Database trouble") == (0, 0, 1)
    prometheus.stop()
    page.reload()
    expect(page.get_by_text("Prometheus: it does not answer")).to_be_visible()
    page.close()
