"""The operator's rights, compared with what it asked for while all other tests ran: the audit log knows that.

The log is that of the tests' own node. A right that no test makes the operator use is one too many, or lacks a test.
After a run of some tests this says nothing, and is left out.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from e2e.harness.waiting import until

from .groups import ALONE, LAST
from .test_rights import LEASE, NEEDED

pytestmark = [getattr(pytest.mark, ALONE), getattr(pytest.mark, LAST), pytest.mark.usefixtures("release")]

# Asked for by an admission plugin, in the name of the one whose request it checks.
WITHOUT_REQUESTS = {("jobqueues.jobqueue.dev/finalizers", "update")}


def audit_log():
    cluster = os.environ.get("E2E_CLUSTER")
    if not cluster:
        pytest.skip("an audit log has the tests' own node, and not the cluster that KUBECONFIG names")
    path = Path(subprocess.run([cluster, "audit"], capture_output=True, text=True, check=True).stdout.strip())
    assert path.stat().st_size, f"{path} is empty"
    # The API server begins another file when one is full.
    return sorted(path.parent.glob(f"{path.stem}*{path.suffix}"))


def requests(user):
    """What the account asked for: (resource, verb, whether it was forbidden)."""
    for file in audit_log():
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                if user not in line or not line.endswith("}\n"):
                    continue
                event = json.loads(line)
                about = event.get("objectRef") or {}
                if event["user"]["username"] != user or "resource" not in about:
                    continue
                group, sub = about.get("apiGroup"), about.get("subresource")
                resource = about["resource"] + (f".{group}" if group else "") + (f"/{sub}" if sub else "")
                forbidden = event.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid"
                yield resource, event["verb"], forbidden
                # Server-side apply of what was not there takes both rights.
                if event["verb"] == "patch" and event.get("responseStatus", {}).get("code") == 201:
                    yield resource, "create", forbidden


def everything_ran(config):
    """Whether no tests were left out, whose rights would look unused."""
    left_out = [config.getoption(name, None) for name in ("keyword", "markexpr", "process")]
    paths = [Path(each.partition("::")[0]).resolve() for each in config.args]
    return not any(left_out) and paths == [Path(__file__).resolve().parent]


def test_every_right_is_used_and_none_is_missing(request, cluster, release):
    if not everything_ran(request.config):
        pytest.skip("only some tests are run: rights that others use would look unused")
    # One installation has the Lease in its chart: that it is made anew takes somebody who deletes it.
    lease = ("leases", "jobqueue-operator", release.namespace)
    before = cluster.get(*lease)["metadata"]["uid"]
    cluster.kubectl("delete", "lease", lease[1], namespace=release.namespace)

    def is_new():
        found = cluster.get(*lease)
        return found and found["metadata"]["uid"] != before

    until(is_new, "the operator makes the Lease anew", 60, 0.5)
    asked = list(requests(f"system:serviceaccount:{release.namespace}:jobqueue-operator"))
    given = {(resource, verb) for resource, verbs in {**NEEDED, **LEASE}.items() for verb in verbs}
    # An operator whose release is being removed, or installed, has no rights for a moment.
    forbidden = {(resource, verb) for resource, verb, refused in asked if refused} - given
    assert not forbidden, f"the operator asks for what it may not: {sorted(forbidden)}"
    used = {(resource, verb) for resource, verb, _ in asked}
    assert not used - given - {("selfsubjectaccessreviews.authorization.k8s.io", "create")}, sorted(used - given)
    unused = given - used - WITHOUT_REQUESTS
    assert not unused, f"no test makes the operator use these rights: {sorted(unused)}"
