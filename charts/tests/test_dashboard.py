"""The dashboard in the cluster, as the chart renders it: off by default, with few rights, apart from the operator."""

import pytest

from .rendering import CHART, Refused, container, environment

NAME = "jobs-jobqueue-operator-dashboard"
SHOWN = [
    {"apiGroups": ["jobqueue.dev"], "resources": ["jobqueues"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
]
REVIEWS = [
    {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
    {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
]
SECRETS = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]


@pytest.fixture
def dashboard(render):
    """Renders it with values of its own."""
    return lambda values=None, **others: render({"dashboard": {"enabled": True, **(values or {})}, **others})


def rights(rendered):
    """The rules of each role that is bound to the dashboard's account, by namespace ("" for all) and name."""
    bound = {}
    for binding in rendered.all("RoleBinding") + rendered.all("ClusterRoleBinding"):
        if [each["name"] for each in binding["subjects"]] == [NAME]:
            role, namespace = binding["roleRef"], binding["metadata"].get("namespace")
            [found] = [
                each
                for each in rendered.all(role["kind"])
                if each["metadata"]["name"] == role["name"]
                and (role["kind"] == "ClusterRole" or each["metadata"]["namespace"] == namespace)
            ]
            bound[namespace or "", role["name"]] = found["rules"]
    return bound


def test_it_is_off_by_default(render):
    assert "dashboard" not in [
        each["metadata"]["labels"].get("app.kubernetes.io/component") for each in render().objects
    ]
    assert len(render().all("Deployment")) == 1


def test_it_may_look_at_queues_and_ask_about_accounts_and_no_more(dashboard):
    assert rights(dashboard()) == {("", NAME): SHOWN, ("", f"{NAME}-access"): REVIEWS}


def test_secrets_are_for_the_listed_namespaces_only(dashboard):
    rendered = dashboard({"redis": {"namespaces": ["shop", "mail"]}})
    assert rights(rendered) == {
        ("", NAME): SHOWN,
        ("", f"{NAME}-access"): REVIEWS,
        ("shop", f"{NAME}-redis"): SECRETS,
        ("mail", f"{NAME}-redis"): SECRETS,
    }
    assert environment(rendered, "dashboard")["JOBQUEUE_REDIS_NAMESPACES"] == "shop,mail"
    with pytest.raises(Refused, match="namespaces"):
        dashboard({"redis": {"namespaces": ["*"]}})


def test_with_a_list_of_namespaces_it_shows_these(dashboard):
    rendered = dashboard(scope="Namespace", watchNamespaces=["shop", "mail"])
    assert rights(rendered) == {("shop", NAME): SHOWN, ("mail", NAME): SHOWN, ("", f"{NAME}-access"): REVIEWS}
    assert environment(rendered, "dashboard")["JOBQUEUE_NAMESPACE"] == "shop,mail"


def test_without_rbac_it_gets_no_role(dashboard):
    assert not rights(dashboard(rbac={"create": False}))


def test_no_change_unless_it_is_allowed(dashboard):
    assert environment(dashboard(), "dashboard").keys() == {"JOBQUEUE_LISTEN"}
    assert environment(dashboard({"allowActions": True}), "dashboard")["JOBQUEUE_ALLOW_ACTIONS"] == "true"


def test_it_is_reached_by_its_own_service_and_probes(dashboard):
    rendered = dashboard()
    [port] = container(rendered, "dashboard")["ports"]
    for probe in ("livenessProbe", "readinessProbe"):
        assert container(rendered, "dashboard")[probe]["httpGet"] == {"path": "/healthz", "port": port["name"]}
    labels = rendered.one("Deployment", NAME)["spec"]["template"]["metadata"]["labels"]
    service = rendered.one("Service", NAME)["spec"]
    assert service["selector"].items() <= labels.items()
    assert [each["targetPort"] for each in service["ports"]] == [port["name"]]
    # What selects the operator's pods does not select this one, and the other way round.
    operator = rendered.one("Deployment", "jobs-jobqueue-operator")["spec"]
    assert not operator["selector"]["matchLabels"].items() <= labels.items()
    assert not service["selector"].items() <= operator["template"]["metadata"]["labels"].items()


def test_a_proxy_is_believed_with_the_secret_of_a_file(render):
    rendered = render(file=CHART / "ci" / "dashboard-values.yaml")
    pod = rendered.one("Deployment", NAME)["spec"]["template"]["spec"]
    [volume], [mount] = pod["volumes"], pod["containers"][0]["volumeMounts"]
    assert volume["secret"]["secretName"] == "dashboard-proxy"
    file = environment(rendered, "dashboard")["JOBQUEUE_PROXY_SECRET_FILE"]
    assert file == f"{mount['mountPath']}/{volume['secret']['items'][0]['path']}"
    assert mount["readOnly"] is True


def test_a_network_policy_lets_in_who_is_named(render, dashboard):
    rendered = render(file=CHART / "ci" / "dashboard-values.yaml")
    policy = rendered.one("NetworkPolicy", NAME)["spec"]
    labels = rendered.one("Deployment", NAME)["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    [rule] = policy["ingress"]
    assert rule["ports"] == [{"port": "http"}]
    assert [each.keys() for each in rule["from"]] == [{"namespaceSelector"}]
    assert not dashboard().all("NetworkPolicy")
