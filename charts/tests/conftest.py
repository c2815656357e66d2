"""Rendering the chart with helm, as its users do."""

import pytest
import yaml

from e2e.harness import check_times

from .rendering import CHART, Rendered, run


def pytest_configure(config):
    check_times.register(config)


@pytest.fixture
def render():
    """`helm template jobs CHART`, with values as a dict or a file."""

    def template(values=None, file=None, release="jobs", namespace="batch"):
        command = ["helm", "template", release, CHART, "--namespace", namespace]
        command += ["--values", file] if file else []
        command += ["--values", "-"] if values else []
        return Rendered(run(*command, stdin=yaml.safe_dump(values) if values else None).stdout)

    return template
