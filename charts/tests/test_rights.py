"""Which namespaces are served, and with which rights; what tenants may do."""

import pytest

from .rendering import CHART, Refused, environment

CLUSTER_WIDE = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}


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


def test_the_lease_that_may_be_written_is_the_one_that_is_used(render):
    rendered = render()
    named = [rule for rule in rendered.one("Role", "jobs-jobqueue-operator-leader")["rules"] if "resourceNames" in rule]
    assert [rule["resourceNames"] for rule in named] == [[environment(rendered)["JOBQUEUE_LEASE_NAME"]]]


def test_the_lease_can_be_left_to_the_operator(render):
    assert render().one("Lease")
    rendered = render({"leaderElection": {"createLease": False}})
    assert not rendered.all("Lease")
    verbs = [rule["verbs"] for rule in rendered.one("Role", "jobs-jobqueue-operator-leader")["rules"]]
    assert ["create"] in verbs
