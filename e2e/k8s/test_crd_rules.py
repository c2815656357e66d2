"""Every rule of the CustomResourceDefinition before a real API server, broken and kept."""

import re

import pytest

from e2e.harness import kube, shared

from .crd_cases import ACCEPTED, REJECTED
from .crd_manifests import SCALER, changed, manifest, tried

pytestmark = pytest.mark.usefixtures("crd")


@pytest.fixture(scope="module")
def answers(scratch_namespace):
    """Both tables in one command."""
    cases = {**REJECTED, **ACCEPTED}

    def ask():
        found = tried(scratch_namespace, [changed(*case[:2]) for case in cases.values()])
        return dict(zip(cases, found.values(), strict=True))

    return shared.once("answers", ask)


@pytest.mark.parametrize("case", REJECTED)
def test_rejected_with_the_field_and_the_rule(answers, case):
    field, words = REJECTED[case][2:]
    message = answers[case]
    assert message, "it was accepted"
    assert re.search(rf"(?<![\w.]){re.escape(field)}: ", message), message
    assert words in message, message


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(answers, case):
    assert answers[case] is None


@pytest.mark.parametrize(
    "wrong, hint",
    [({"scalling": {}}, "spec.scalling"), ({"queue": {**SCALER["queue"], "nmes": ["a"]}}, "spec.queue.nmes")],
)
def test_unknown_fields_are_refused(scratch_namespace, wrong, hint):
    with pytest.raises(kube.Failed, match=f'unknown field "{hint}"'):
        scratch_namespace.apply(manifest({**SCALER, **wrong}))


@pytest.mark.parametrize("name", ["a.b", "a" * 64])
def test_names_that_cannot_be_labels_are_refused(scratch_namespace, name):
    with pytest.raises(kube.Failed, match=r"metadata\.name: lower case letters, digits and - only, at most 63"):
        scratch_namespace.apply(manifest(SCALER, name))
