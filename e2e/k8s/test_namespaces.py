"""One operator serves a list of namespaces, and no other."""

import pytest

from e2e.harness.waiting import until

pytestmark = pytest.mark.own_operator

IMAGE_OF_ONES_OWN = {
    "apiVersion": "jobqueue.dev/v1alpha1",
    "kind": "JobQueue",
    "metadata": {"name": "companies"},
    "spec": {
        "queue": {"names": ["q"], "redis": {"url": "redis://nowhere:6379"}},
        "worker": {"image": "registry.invalid/worker:1"},
    },
}


@pytest.mark.takes(20)
def test_each_namespace_of_the_list_is_served_and_no_other(namespace, namespaces, start_operator):
    second, third, other = (namespaces(suffix) for suffix in ("-second", "-third", "-other"))
    served = (namespace, second, third)
    second.apply(IMAGE_OF_ONES_OWN)  # before the operator is there
    start_operator("operator", further=(second, third))
    for each in (namespace, third, other):
        each.apply(IMAGE_OF_ONES_OWN)
    until(lambda: all(each.deployment() for each in served), "each namespace has its workers", 30)
    assert not other.deployment()
    # What is deleted is back: the Deployments are watched in each namespace.
    for each in served:
        each.kubectl("delete", "deployment", "companies-worker")
    until(lambda: all(each.deployment() for each in served), "each namespace has its workers again", 30)
    third.kubectl("delete", "jobqueue", "companies")
    until(lambda: not third.deployment(), "the workers go with their JobQueue", 30)
    assert namespace.deployment()
