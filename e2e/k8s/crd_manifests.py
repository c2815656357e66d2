"""JobQueues for the tests of the CustomResourceDefinition, and what the API server says of many of them at once."""

import copy
import json
import re

from e2e.harness import ROOT, kube
from e2e.harness.manifests import load

DEFINITION = load((ROOT / "crds" / "jobqueue.yaml").read_text(encoding="utf-8"))
SCHEMA = DEFINITION["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
COLUMN = {"id": "job.id"}
TABLE = {"table": "t", "columns": COLUMN}
REFERENCE = {"name": "warehouse", "key": "redis"}
SCALER = {"queue": {"names": ["a"], "redis": {"url": "redis://r"}}}
SCHEDULE = {"name": "day", "start": "0 8 * * *", "end": "0 18 * * *", "minReplicas": 1}
INGEST = {**SCALER, "database": {"urlSecretKeyRef": REFERENCE}, "ingest": [{"tables": [TABLE]}]}


def manifest(spec, name="q"):
    return {"apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue", "metadata": {"name": name}, "spec": spec}


def without(fields, name):
    return {field: value for field, value in fields.items() if field != name}


def changed(base, changes):
    """`base` with the fields at dotted paths set, or removed where the value is None."""
    spec = copy.deepcopy(base)
    for path, value in changes.items():
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        at = spec
        for index, part in enumerate(parents):
            if isinstance(at, dict) and part not in at:
                at[part] = [{}] if isinstance((*parents, last)[index + 1], int) else {}
            at = at[part]
        if value is None:
            at.pop(last, None)
        else:
            at[last] = copy.deepcopy(value)
    return spec


def tried(scratch_namespace, specs):
    """What the API server (not kubectl) says of many specs in one go: index to message, None where it takes it."""
    objects = [manifest(spec, f"try-{number}") for number, spec in enumerate(specs)]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, ensure_ascii=False)
    try:
        scratch_namespace.kubectl("apply", "--dry-run=server", "--validate=false", "-f", "-", stdin=text)
        errors = ""
    except kube.Failed as failed:
        errors = failed.stderr
    answers = dict.fromkeys(range(len(specs)))
    for message in re.split(r"(?m)^(?=The JobQueue|Error from server|error: )", errors):
        if message.strip():
            number = re.search(r"try-(\d+)", message)
            assert number, message
            answers[int(number[1])] = message
    return answers
