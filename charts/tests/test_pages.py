"""What the pages print of the chart: values, and the rules of its alerts."""

import pytest
import yaml

from e2e.docs.blocks import pages, read
from e2e.harness import ROOT

from .rendering import CHART, Loader, template


def fragments(kind):
    return [pytest.param(block, id=str(block)) for page in pages() for block in read(page) if block.kind == kind]


@pytest.fixture(scope="module")
def plain(helm):
    """What the chart is without values."""
    return template(helm).objects


@pytest.mark.parametrize("block", fragments("values of"))
def test_values_are_those_of_the_chart(render, plain, block):
    assert ROOT / block.argument == CHART
    values = yaml.load(block.text, Loader)
    assert render(values).objects != plain, "the values change nothing"


@pytest.mark.parametrize("block", fragments("rules of"))
def test_rules_are_those_of_the_chart(render, block):
    assert ROOT / block.argument == CHART
    rule = render({"prometheusRule": {"enabled": True}}).one("PrometheusRule")
    assert yaml.load(block.text, Loader)["groups"] == rule["spec"]["groups"]
