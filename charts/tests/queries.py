"""PromQL of the chart, and the metrics that the programs register."""

import re

import promql_parser

from e2e.harness import ROOT


def series(expression):
    """The metrics of a PromQL expression. Raises an error where Prometheus would."""
    without_labels = re.sub(r"\{[^}]*\}", "", promql_parser.parse(expression).prettify())
    return set(re.findall(r"jobqueue_\w+", without_labels))


def registered():
    """The names of metrics in the sources of the operator and the worker, as Prometheus has them."""
    programs = {"operator": ROOT / "operator/src/metrics.rs", "worker": ROOT / "worker/src/state/metrics.rs"}
    return {
        f"jobqueue_{program}_{name}"
        for program, path in programs.items()
        for name in re.findall(
            r'(?:register|register_with_unit|encode_descriptor)\(\s*"(\w+)"', path.read_text("utf-8")
        )
    }


def bare(metric):
    return re.sub(r"(_bucket|_total|_info)$", "", metric)


def assert_registered(expression):
    names = registered()
    for metric in map(bare, series(expression)):
        assert {metric, metric.removesuffix("_seconds")} & names, metric
