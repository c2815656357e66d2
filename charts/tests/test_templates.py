"""What the chart renders, value by value, with Helm 4 and 3. For notes, Helm 3 wants a cluster."""

import json
import re

import pytest
import yaml

from e2e.harness import ROOT

from .rendering import CHART, VALUES, container, environment, load, run


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


def test_the_pace_of_rollouts_reaches_the_operator(render):
    variable = "JOBQUEUE_ROLLOUT_MAX_UNAVAILABLE_QUEUES"
    assert environment(render())[variable] == "10"
    assert environment(render({"operator": {"rollout": {"maxUnavailableQueues": 3}}}))[variable] == "3"


def test_extra_objects_are_templates(render):
    rendered = render(file=CHART / "ci" / "full-values.yaml")
    assert rendered.one("ConfigMap", "jobs-extra")["data"] == {"namespace": "batch"}
    assert rendered.one("ConfigMap", "custom-name-text")


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
