"""What the chart renders, value by value, with Helm 4 and 3. For notes, Helm 3 wants a cluster."""

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import promql_parser
import pytest
import yaml

from e2e.harness import ROOT

from .rendering import CHART, VALUES, Refused, container, environment, load, run

CLUSTER_WIDE = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_lint(helm, values):
    run(helm, "lint", "--strict", CHART, "--values", values)


def test_the_crd_is_the_generated_one_and_is_kept(render):
    ours = render().one("CustomResourceDefinition")
    [generated] = load((ROOT / "crds" / "jobqueue.yaml").read_text(encoding="utf-8"))
    assert ours["spec"] == generated["spec"]
    assert ours["metadata"]["name"] == generated["metadata"]["name"]
    assert ours["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert not render({"crds": {"install": False}}).all("CustomResourceDefinition")


def test_versions_are_the_workspaces(render):
    workspace = re.search(
        r'^\[workspace.package\]\nversion = "(.*)"', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.M
    )
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == workspace[1]
    rendered = render()
    assert container(rendered)["image"] == f"jobqueue/operator:{workspace[1]}"
    assert environment(rendered)["JOBQUEUE_WORKER_IMAGE"] == f"jobqueue/worker:{workspace[1]}"


def test_artifact_hub_shows_what_the_chart_has(render):
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    shown = {name: yaml.safe_load(text) for name, text in chart["annotations"].items()}
    rendered = render()
    images = {each["name"]: each["image"] for each in shown["artifacthub.io/images"]}
    worker = environment(rendered)["JOBQUEUE_WORKER_IMAGE"]
    dashboard = container(render({"dashboard": {"enabled": True}}), "dashboard")["image"]
    assert images == {"operator": container(rendered)["image"], "worker": worker, "dashboard": dashboard}
    crd = rendered.one("CustomResourceDefinition")
    [listed] = shown["artifacthub.io/crds"]
    served = [each["name"] for each in crd["spec"]["versions"] if each["served"]]
    assert (listed["kind"], listed["name"]) == (crd["spec"]["names"]["kind"], crd["metadata"]["name"])
    assert served == [listed["version"]]
    # The README is shown there too, where a relative link would lead nowhere.
    links = re.findall(r"\]\(([^)]*)\)", (CHART / "README.md").read_text(encoding="utf-8"))
    links += [each["url"] for each in shown["artifacthub.io/links"]]
    pages = [re.fullmatch(rf"{chart['home']}/(?:blob|tree)/main/(.*)", link) for link in links]
    assert len(pages) > 5 and all(page and (ROOT / page[1]).exists() for page in pages), links


def test_images(render):
    digest = "sha256:" + "0" * 64
    rendered = render(
        {"image": {"registry": "mirror:5000/x", "tag": "2"}, "workerImage": {"digest": digest, "tag": "3"}}
    )
    assert container(rendered)["image"] == "mirror:5000/x/jobqueue/operator:2"
    assert environment(rendered)["JOBQUEUE_WORKER_IMAGE"] == f"mirror:5000/x/jobqueue/worker@{digest}"
    assert rendered.one("Pod")["spec"]["containers"][0]["image"] == "mirror:5000/x/jobqueue/operator:2"


def test_addresses_of_redis(render):
    addresses = {"allowedAddresses": ["127.0.0.0/8", "fd00::/8"], "deniedAddresses": ["10.0.0.0/8"]}
    rendered = environment(render({"operator": {"redis": addresses}}))
    assert rendered["JOBQUEUE_REDIS_ALLOWED_ADDRESSES"] == "127.0.0.0/8,fd00::/8"
    assert rendered["JOBQUEUE_REDIS_DENIED_ADDRESSES"] == "10.0.0.0/8"
    assert not [name for name in environment(render()) if name.startswith("JOBQUEUE_REDIS")]


def test_namespaced_install_has_nothing_cluster_wide(render):
    rendered = render(file=CHART / "ci" / "namespaced-values.yaml")
    assert not rendered.kinds() & CLUSTER_WIDE
    assert {each["metadata"]["namespace"] for each in rendered.objects} == {"batch"}
    assert environment(rendered)["JOBQUEUE_NAMESPACE"] == "batch"


def test_a_list_of_namespaces_has_a_role_in_each(render):
    rendered = render({"scope": "Namespace", "watchNamespaces": ["shop", "mail"]})
    assert environment(rendered)["JOBQUEUE_NAMESPACE"] == "shop,mail"
    assert not rendered.kinds() & {"ClusterRole", "ClusterRoleBinding"}
    narrow = render({"scope": "Namespace"}).one("Role", "jobs-jobqueue-operator")
    roles = [each for each in rendered.all("Role") if each["metadata"]["name"] == "jobs-jobqueue-operator"]
    assert [each["metadata"]["namespace"] for each in roles] == ["shop", "mail"]
    assert all(each["rules"] == narrow["rules"] for each in roles)
    bindings = [each for each in rendered.all("RoleBinding") if each["metadata"]["name"] == "jobs-jobqueue-operator"]
    assert [each["metadata"]["namespace"] for each in bindings] == ["shop", "mail"]
    assert {each["subjects"][0]["namespace"] for each in bindings} == {"batch"}
    # Who leads is decided beside the operators, once.
    assert rendered.one("Role", "jobs-jobqueue-operator-leader")["metadata"]["namespace"] == "batch"
    with pytest.raises(Refused, match=r"watchNamespaces needs scope: Namespace"):
        render({"watchNamespaces": ["shop"]})


def test_cluster_install_serves_every_namespace(render):
    rendered = render()
    assert "JOBQUEUE_NAMESPACE" not in environment(rendered)
    binding = rendered.one("ClusterRoleBinding")
    assert binding["roleRef"]["kind"] == "ClusterRole"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "jobs-jobqueue-operator", "namespace": "batch"}]


def test_both_scopes_have_the_same_rules(render):
    wide = render().one("ClusterRole", "jobs-jobqueue-operator")
    narrow = render({"scope": "Namespace"}).one("Role", "jobs-jobqueue-operator")
    assert wide["rules"] == narrow["rules"]


def test_rights_are_no_more_than_needed(render):
    roles = [each for each in render().objects if each["kind"] in ("Role", "ClusterRole")]
    rules = [rule for role in roles for rule in role["rules"]]
    for rule in rules:
        assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"], rule
    [secrets] = [rule for rule in rules if "secrets" in rule["resources"]]
    assert secrets["verbs"] == ["get"]
    verbs = {verb for rule in rules if "pods" in rule["resources"] for verb in rule["verbs"]}
    assert verbs == {"list", "patch"}


def test_every_rule_has_its_reason():
    lines = (CHART / "templates" / "rbac.yaml").read_text(encoding="utf-8").splitlines()
    rules = [number for number, line in enumerate(lines) if line.strip().startswith("- apiGroups:")]
    assert len(rules) > 10
    silent = [
        f"line {number + 1}, {lines[number + 1].strip()}"
        for number in rules
        if not lines[number - 1].strip().startswith("#")
    ]
    assert not silent, "a rule without a comment: " + ", ".join(silent)


def test_roles_for_people_are_aggregated(render):
    rendered = render()
    label = "rbac.authorization.k8s.io/aggregate-to-{}".format
    view, edit = (rendered.one("ClusterRole", f"jobs-jobqueue-operator-{each}") for each in ("view", "edit"))
    assert view["metadata"]["labels"][label("view")] == "true"
    assert label("view") not in edit["metadata"]["labels"]
    assert edit["metadata"]["labels"][label("edit")] == "true"
    assert all({"get", "list", "watch"} >= set(rule["verbs"]) for rule in view["rules"])
    assert "jobqueues/status" not in str(edit["rules"])
    assert len(render({"rbac": {"aggregate": False}}).all("ClusterRole")) == 1
    assert not {"Role", "ClusterRole"} & render({"rbac": {"create": False}}).kinds()


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_pods_are_restricted(render, values):
    rendered = render(file=values)
    deployments = [each["spec"]["template"]["spec"] for each in rendered.all("Deployment")]
    for pod in (*deployments, rendered.one("Pod")["spec"]):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for each in pod["containers"]:
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_the_platform_may_choose_the_user(render):
    rendered = render({"podSecurityContext": {"runAsUser": None, "runAsGroup": None}})
    assert rendered.one("Deployment")["spec"]["template"]["spec"]["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_openshift_chooses_the_user_of_operator_check_and_workers(render):
    rendered = render(file=CHART / "ci" / "openshift-values.yaml")
    for pod in (rendered.one("Deployment")["spec"]["template"]["spec"], rendered.one("Pod")["spec"]):
        assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert environment(rendered)["JOBQUEUE_WORKER_PLATFORM_USER"] == "true"
    assert environment(rendered)["JOBQUEUE_DNS_PORTS"] == "53,5353"
    plain = environment(render())
    assert plain["JOBQUEUE_DNS_PORTS"] == "53"
    assert not {"JOBQUEUE_WORKER_PLATFORM_USER", "JOBQUEUE_WORKER_TEMPLATE"} & plain.keys()


def test_the_template_of_all_workers(render):
    rendered = render(file=CHART / "ci" / "openshift-values.yaml")
    assert json.loads(environment(rendered)["JOBQUEUE_WORKER_TEMPLATE"]) == {
        "metadata": {"labels": {"team": "data"}, "annotations": {"example.com/team": "data"}},
        "spec": {
            "imagePullSecrets": [{"name": "mirror"}],
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "batch", "operator": "Exists"}],
            "priorityClassName": "batch",
            "containers": [{"name": "worker", "resources": {"limits": {"memory": "1Gi"}}}],
            "runtimeClassName": "plain",
        },
    }


def test_a_parent_chart_may_switch_it_off_and_hand_down_globals(render):
    assert render({"enabled": True, "global": {"anything": 1}}).one("Deployment")


def test_the_lease_can_be_left_to_the_operator(render):
    assert render().one("Lease")
    rendered = render({"leaderElection": {"createLease": False}})
    assert not rendered.all("Lease")
    verbs = [rule["verbs"] for rule in rendered.one("Role", "jobs-jobqueue-operator-leader")["rules"]]
    assert ["create"] in verbs


def test_passwords_in_files_reach_the_operator(render):
    values = {
        "passwordDirectory": "/passwords",
        "extraVolumes": [{"name": "passwords", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "passwords", "mountPath": "/passwords"}],
        "extraContainers": [{"name": "tokens", "image": "writer:1"}],
    }
    rendered = render({"operator": values})
    pod = rendered.one("Deployment")["spec"]["template"]["spec"]
    assert [each["name"] for each in pod["containers"]] == ["operator", "tokens"]
    assert pod["containers"][0]["volumeMounts"] == values["extraVolumeMounts"]
    assert pod["volumes"] == values["extraVolumes"]
    variables = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
    assert variables["JOBQUEUE_PASSWORD_DIRECTORY"] == "/passwords"
    assert "JOBQUEUE_PASSWORD_DIRECTORY" not in environment(render())


def test_tenants_are_narrowed_where_asked(render):
    assert not render().all("ValidatingAdmissionPolicy")
    values = {"enabled": True, "action": "Warn", "images": ["mirror/a/", "mirror/b/"], "serviceAccounts": ["jobs"]}
    rendered = render({"tenantPolicy": {**values, "namespaceSelector": {"matchLabels": {"tenant": "true"}}}})
    policy = rendered.one("ValidatingAdmissionPolicy")
    binding = rendered.one("ValidatingAdmissionPolicyBinding")["spec"]
    assert binding["policyName"] == policy["metadata"]["name"]
    assert binding["validationActions"] == ["Warn"]
    assert binding["matchResources"]["namespaceSelector"]["matchLabels"] == {"tenant": "true"}
    rules = [each["expression"] for each in policy["spec"]["validations"]]
    assert any("['default','jobs']" in rule for rule in rules)
    assert any('startsWith("mirror/a/") || image.startsWith("mirror/b/")' in rule for rule in rules)
    assert "['system:masters']" in policy["spec"]["matchConditions"][0]["expression"]
    assert all(each["message"].startswith("spec.worker") for each in policy["spec"]["validations"])


def test_probes_reach_the_port_that_the_operator_listens_on(render):
    rendered = render()
    operator = container(rendered)
    [port] = operator["ports"]
    assert environment(rendered)["JOBQUEUE_LISTEN"] == f"[::]:{port['containerPort']}"
    assert operator["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": port["name"]}
    assert operator["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": port["name"]}
    service = rendered.one("Service")
    assert service["spec"]["ipFamilyPolicy"] == "PreferDualStack"
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    assert (
        service["spec"]["selector"].items()
        <= rendered.one("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    )


def test_the_log_of_the_check_can_be_read_with_helm_3(render):
    """It looks for the pod after its hooks, and fails where one has deleted it (`helm test --logs`)."""
    check = render().one("Pod")["metadata"]["annotations"]
    assert check == {"helm.sh/hook": "test", "helm.sh/hook-delete-policy": "before-hook-creation"}


def test_the_check_is_no_endpoint_of_the_service(render):
    rendered = render()
    labels = rendered.one("Pod")["metadata"]["labels"]
    assert not rendered.one("Service")["spec"]["selector"].items() <= labels.items()


def test_the_lease_that_may_be_written_is_the_one_that_is_used(render):
    rendered = render()
    named = [rule for rule in rendered.one("Role", "jobs-jobqueue-operator-leader")["rules"] if "resourceNames" in rule]
    assert [rule["resourceNames"] for rule in named] == [[environment(rendered)["JOBQUEUE_LEASE_NAME"]]]


def test_several_replicas(render):
    assert "PodDisruptionBudget" not in render().kinds()
    rendered = render({"replicas": 2})
    assert rendered.one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    [spread] = rendered.one("Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
    assert "PodDisruptionBudget" not in render({"replicas": 2, "podDisruptionBudget": {"enabled": False}}).kinds()


def test_network_policy(render):
    assert "NetworkPolicy" not in render().kinds()
    policy = render({"networkPolicy": {"enabled": True}}).one("NetworkPolicy")["spec"]
    assert policy["ingress"] == [{"ports": [{"port": "metrics"}]}]
    assert policy["egress"] == [{}]
    fenced = render(file=CHART / "ci" / "available-values.yaml").one("NetworkPolicy")["spec"]
    assert "namespaceSelector" in fenced["ingress"][0]["from"][0]


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


def test_alerts_watch_metrics_that_exist(render):
    """Each metric of an alert is named where the operator registers its metrics, and each alert has a runbook."""
    [group] = render({"prometheusRule": {"enabled": True}}).one("PrometheusRule")["spec"]["groups"]
    for rule in group["rules"]:
        assert_registered(rule["expr"])
        page = Path(urlsplit(rule["annotations"]["runbook_url"]).path)
        assert page.name == f"{rule['alert']}.md"
        assert (ROOT / "docs/runbooks" / page.name).is_file(), f"{rule['alert']} has no runbook"
    pages = {path.stem for path in (ROOT / "docs/runbooks").glob("*.md")} - {"README"}
    assert pages == {rule["alert"] for rule in group["rules"]}


def test_runbooks_may_be_elsewhere(render):
    rules = {"enabled": True, "runbookUrl": "https://wiki.example.com/jobs/"}
    [group] = render({"prometheusRule": rules}).one("PrometheusRule")["spec"]["groups"]
    assert group["rules"][0]["annotations"]["runbook_url"] == "https://wiki.example.com/jobs/JobQueueNobodyLeads.md"


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


def test_the_pace_of_rollouts_reaches_the_operator(render):
    variable = "JOBQUEUE_ROLLOUT_MAX_UNAVAILABLE_QUEUES"
    assert environment(render())[variable] == "10"
    assert environment(render({"operator": {"rollout": {"maxUnavailableQueues": 3}}}))[variable] == "3"


def test_extra_objects_are_templates(render):
    rendered = render(file=CHART / "ci" / "full-values.yaml")
    assert rendered.one("ConfigMap", "jobs-extra")["data"] == {"namespace": "batch"}
    assert rendered.one("ConfigMap", "custom-name-text")


@pytest.mark.parametrize(
    "values, named",
    [
        ({"replica": 2}, "replica"),
        ({"image": {"tagg": "1"}}, "tagg"),
        ({"replicas": "2"}, "replicas"),
        ({"scope": "Everything"}, "scope"),
        ({"operator": {"pollIntervalMs": 1}}, "pollIntervalMs"),
        ({"operator": {"redis": {"deniedAddresses": ["everywhere"]}}}, "deniedAddresses"),
        ({"operator": {"rollout": {"maxUnavailableQueues": 0}}}, "maxUnavailableQueues"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"serviceMonitor": {"interval": 30}}, "interval"),
        ({"podLabels": {"a": 1}}, "podLabels"),
        ({"fullnameOverride": "Uppercase"}, "fullnameOverride"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_mistake_in_the_values_is_named(render, values, named):
    with pytest.raises(Refused, match=named):
        render(values)


def test_every_value_is_in_the_schema_and_the_other_way_round():
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))

    def compare(path, values, schema):
        known = schema.get("properties")
        if known is None or not isinstance(values, dict):
            return
        missing = set(known) - set(values) - {"global", "claims"}
        assert not missing, f"{path}: in the schema, not in values.yaml: {missing}"
        assert schema["additionalProperties"] is False, path
        for name, value in values.items():
            compare(f"{path}.{name}", value, known[name])

    compare("values", values, schema)


def test_names_fit_however_long_the_release(render):
    rendered = render(release="r" * 53)
    for each in rendered.objects:
        assert len(each["metadata"]["name"]) <= 63, each["metadata"]["name"]


def test_notes_name_the_next_command(helm):
    notes = run(helm, "install", "jobs", CHART, "--namespace", "batch", "--dry-run=client").stdout.split("NOTES:")[1]
    assert "helm test jobs -n batch" in notes
    assert "kubectl get jobqueues -w" in notes
    example = re.search(r"/(examples/\S+)", notes)[1]
    assert (ROOT / example).is_file()
    narrow = run(
        helm, "install", "jobs", CHART, "--namespace", "batch", "--dry-run=client", "--set", "scope=Namespace"
    ).stdout
    assert "kubectl get jobqueues -n batch -w" in narrow


def test_generated_files_are_current():
    run(ROOT / "scripts" / "generate", "--check")
