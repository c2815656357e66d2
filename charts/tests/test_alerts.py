"""The alerts of the chart, tried with Prometheus's own tool: `alerts.yaml` has the series."""

import copy
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from e2e.harness import ROOT

from .queries import assert_registered
from .rendering import Refused, run, template

SERIES = Path(__file__).with_name("alerts.yaml")


@pytest.fixture(scope="module")
def rules(helm):
    """The groups of the chart's PrometheusRule, which are a rule file of Prometheus."""
    rendered = template(helm, {"prometheusRule": {"enabled": True}})
    return {"groups": rendered.one("PrometheusRule")["spec"]["groups"]}


@pytest.fixture
def checked(rules, tmp_path):
    """The directory with that rule file and the series."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    shutil.copy(SERIES, tmp_path)
    return tmp_path


def alerts(rules):
    return {rule["alert"] for group in rules["groups"] for rule in group["rules"]}


def test_prometheus_takes_the_rules(rules, checked):
    said = run("promtool", "check", "rules", checked / "rules.yaml").stdout
    assert f"SUCCESS: {len(alerts(rules))} rules found" in said


def test_alerts_are_raised_and_are_not(checked):
    run("promtool", "test", "rules", checked / SERIES.name)


def test_each_alert_is_raised_by_a_series_and_not_by_another(rules):
    tried = [each for test in yaml.safe_load(SERIES.read_text("utf-8"))["tests"] for each in test["alert_rule_test"]]
    for raised in (True, False):
        assert {each["alertname"] for each in tried if bool(each["exp_alerts"]) == raised} == alerts(rules)


def test_a_rule_that_takes_the_reason_along_is_found(rules, checked):
    """That promtool's verdict is heard: with the former expression the alert begins anew with each reason."""
    rules = copy.deepcopy(rules)
    [stalled] = [rule for rule in rules["groups"][0]["rules"] if rule["alert"] == "JobQueueStalled"]
    stalled["expr"] = 'jobqueue_operator_queue_condition{condition="Stalled"} == 1'
    (checked / "rules.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    with pytest.raises(Refused, match=r"the reason changes every two minutes"):
        run("promtool", "test", "rules", checked / SERIES.name)


def test_alerts_watch_metrics_that_exist(rules):
    """Each metric of an alert is named where the operator registers its metrics, and each alert has a runbook."""
    for rule in rules["groups"][0]["rules"]:
        assert_registered(rule["expr"])
        page = Path(urlsplit(rule["annotations"]["runbook_url"]).path)
        assert page.name == f"{rule['alert']}.md"
        assert (ROOT / "docs/runbooks" / page.name).is_file(), f"{rule['alert']} has no runbook"
    pages = {path.stem for path in (ROOT / "docs/runbooks").glob("*.md")} - {"README"}
    assert pages == alerts(rules)


def test_the_text_of_an_alert_asks_for_metrics_that_exist(rules):
    asked = [
        re.sub(r"%s", "x", query)
        for rule in rules["groups"][0]["rules"]
        for query in re.findall(r'printf "(jobqueue_[^"]*)"', rule["annotations"]["summary"])
    ]
    assert len(asked) == 2
    for query in asked:
        assert_registered(query)


def test_the_threshold_is_a_value(render):
    rendered = render({"prometheusRule": {"enabled": True, "oldestWaitSeconds": 42}}).one("PrometheusRule")
    [rule] = [rule for rule in rendered["spec"]["groups"][0]["rules"] if rule["alert"] == "JobQueueWaitsTooLong"]
    assert rule["expr"].endswith("> 42")


def test_runbooks_may_be_elsewhere(render):
    rules = {"enabled": True, "runbookUrl": "https://wiki.example.com/jobs/"}
    [group] = render({"prometheusRule": rules}).one("PrometheusRule")["spec"]["groups"]
    assert group["rules"][0]["annotations"]["runbook_url"] == "https://wiki.example.com/jobs/JobQueueNobodyLeads.md"
