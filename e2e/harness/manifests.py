"""Manifests that the tests on a cluster apply: the companies example, changed where a test needs it."""

import copy
import functools

import yaml

from .companies import EXAMPLE


class Loader(yaml.SafeLoader):
    """Times stay the text that Kubernetes takes them for."""


Loader.yaml_implicit_resolvers = {
    first: [each for each in resolvers if each[0] != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(text):
    return yaml.load(text, Loader)


def merged(base, changes):
    """A JSON merge patch: objects are merged, None removes, anything else replaces."""
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


@functools.cache
def example():
    return yaml.safe_load((EXAMPLE / "jobqueue.yaml").read_text(encoding="utf-8"))


def companies(name="companies", **spec):
    """The example's JobQueue with `spec` merged over its own. Short windows, so that tests need not wait."""
    manifest = copy.deepcopy(example())
    manifest["metadata"]["name"] = name
    quick = {
        "queue": {"names": ["companies"], "leaseSeconds": 5},
        "scaling": {"idleSeconds": 2, "scaleDown": {"stabilizationSeconds": 2}},
        "retry": {"maxAttempts": 3, "backoffSeconds": 1, "maxBackoffSeconds": 2},
        "worker": {"drainSeconds": 10},
    }
    manifest["spec"] = merged(merged(manifest["spec"], quick), spec)
    return manifest


def manual(replicas, **spec):
    """The example in mode Manual."""
    return companies(**merged({"scaling": {"mode": "Manual"}, "replicas": replicas}, spec))
