"""Who scrapes the operator, and the dashboards for Grafana. The alerts have a file of their own."""

import json

import pytest

from .queries import assert_registered
from .rendering import CHART, Refused, container, environment


def test_monitoring_is_asked_for(render):
    assert not render().kinds() & {"ServiceMonitor", "PrometheusRule"}
    rendered = render(file=CHART / "ci" / "available-values.yaml")
    monitor = rendered.one("ServiceMonitor")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= rendered.one("Service")["metadata"]["labels"].items()
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    [group] = rendered.one("PrometheusRule")["spec"]["groups"]
    assert all(rule["annotations"]["summary"] for rule in group["rules"])
    assert "{{ $labels.jobqueue }}" in str(group)
    with pytest.raises(Refused, match=r"needs metrics\.service"):
        render({"serviceMonitor": {"enabled": True}, "metrics": {"service": False}})


def test_pods_can_be_scraped_without_a_service(render):
    rendered = render({"podMonitor": {"enabled": True, "labels": {"release": "p"}}, "metrics": {"service": False}})
    monitor = rendered.one("PodMonitor")
    pod = rendered.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= pod.items()
    assert monitor["spec"]["podMetricsEndpoints"][0]["port"] == container(rendered)["ports"][0]["name"]
    assert monitor["metadata"]["labels"]["release"] == "p"
    with pytest.raises(Refused, match=r"twice"):
        render({"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}})


def test_metrics_ask_who_reads_them_where_asked(render):
    assert "JOBQUEUE_METRICS_AUTHENTICATION" not in environment(render())
    assert "tokenreviews" not in render().text
    rendered = render({"metrics": {"authentication": True}, "serviceMonitor": {"enabled": True}})
    assert environment(rendered)["JOBQUEUE_METRICS_AUTHENTICATION"] == "true"
    role = rendered.one("ClusterRole", "jobs-jobqueue-operator-metrics-access")
    assert [(rule["resources"], rule["verbs"]) for rule in role["rules"]] == [
        (["tokenreviews"], ["create"]),
        (["subjectaccessreviews"], ["create"]),
    ]
    assert rendered.one("ClusterRoleBinding", "jobs-jobqueue-operator-metrics-access")["subjects"]
    assert "bearerTokenFile" in rendered.one("ServiceMonitor")["spec"]["endpoints"][0]
    with pytest.raises(Refused, match=r"use serviceMonitor"):
        render({"metrics": {"authentication": True}, "podMonitor": {"enabled": True}})


def test_dashboards_are_asked_for_and_show_metrics_that_exist(render):
    assert not [each for each in render().all("ConfigMap") if "dashboards" in each["metadata"]["name"]]
    rendered = render(
        {"dashboards": {"enabled": True, "namespace": "grafana", "annotations": {"grafana_folder": "Jobs"}}}
    )
    about, files = (
        rendered.one("ConfigMap", "jobs-jobqueue-operator-dashboards")[part] for part in ("metadata", "data")
    )
    assert about["labels"]["grafana_dashboard"] == "1" and about["annotations"] == {"grafana_folder": "Jobs"}
    assert about["namespace"] == "grafana"
    dashboards = [json.loads(text) for text in files.values()]
    assert len({each["uid"] for each in dashboards}) == len(dashboards) == 3
    for dashboard in dashboards:
        taken = set()
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
            taken |= cells
            for target in panel["targets"]:
                # Grafana puts its variables in.
                assert_registered(target["expr"].replace("$__rate_interval", "5m"))
