"""Every bound in the schema of the CustomResourceDefinition before a real API server: a value at it, and one beyond."""

import copy
import re

import pytest

from .crd_manifests import COLUMN, INGEST, SCHEDULE, SCHEMA, TABLE, changed, tried

pytestmark = pytest.mark.usefixtures("crd")


# What else must be set for a value at its bound to be acceptable.
COMPANIONS = {
    "spec.scaling.minReplicas": {"scaling.maxReplicas": 10_000},
    "spec.scaling.staticReplicas": {"scaling.onQueueFailure": "Static", "scaling.maxReplicas": 10_000},
    "spec.retry.backoffSeconds": {"retry.maxBackoffSeconds": 604_800},
    "spec.retry.maxBackoffSeconds": {"retry.backoffSeconds": 0},
    "spec.database.maxConnections": {"worker.concurrency": 1},
    "spec.database.budget": {"database.maxConnections": 4},
    "spec.scaling.schedules[0]": {"scaling.schedules": [SCHEDULE], "scaling.maxReplicas": 10_000},
    "spec.queue.redis.urlSecretKeyRef": {"queue.redis.url": None},
    "spec.queue.redis.url": {},
    "spec.database.url": {"database.urlSecretKeyRef": None},
}
CRON = "0 8 * * "
PREFIX = {
    "spec.queue.redis.url": "redis://",
    "spec.database.url": "postgres://",
    "spec.queue.redis.passwordFile": "/",
    "spec.database.passwordFile": "/",
    "spec.scaling.schedules[0].start": CRON,
    "spec.scaling.schedules[0].end": CRON,
}
REQUIRED = {"name": "n", "key": "k", "table": "t", "columns": COLUMN}


def value_of_size(schema, path, size):
    if schema["type"] == "string":
        prefix = PREFIX.get(path, "")[:size]
        return prefix + "x" * (size - len(prefix))
    if schema["type"] == "object":
        return {f"c{number}": "1" for number in range(size)}
    items = schema["items"]
    if path == "spec.scaling.schedules":
        return [{**SCHEDULE, "name": f"s{number}"} for number in range(size)]
    if items["type"] == "string":
        return [f"v{number}" for number in range(size)]
    return [
        {field: copy.deepcopy(REQUIRED[field]) if field in REQUIRED else [TABLE] for field in items.get("required", [])}
        for _ in range(size)
    ]


def bounds():
    """(path, changes, within): every bound of the schema, once at it and once beyond."""
    found = []

    def note(path, dotted, value, within):
        companions = {
            key: each
            for stem, each in COMPANIONS.items()
            if path == stem or path.startswith(stem + ".")
            for key, each in each.items()
        }
        # A reference at its bound needs its other half.
        if dotted.rsplit(".", 1)[-1] in ("name", "key") and "Ref" in dotted:
            stem = dotted.rsplit(".", 1)[0]
            companions |= (
                {f"{stem}.name": "n"} if stem.endswith("SecretRef") else {f"{stem}.name": "n", f"{stem}.key": "k"}
            )
        found.append((path, {**companions, dotted: value}, within))

    def walk(schema, path, dotted):
        for bound, step in (("minimum", -1), ("maximum", 1)):
            if bound in schema:
                edge = int(schema[bound])
                note(path, dotted, edge, True)
                note(path, dotted, edge + step, False)
        for bound, step in (
            ("minLength", -1),
            ("maxLength", 1),
            ("minItems", -1),
            ("maxItems", 1),
            ("minProperties", -1),
            ("maxProperties", 1),
        ):
            if bound in schema:
                edge = schema[bound]
                at_edge = value_of_size(schema, path, max(edge, len(PREFIX.get(path, "")) + 1))
                note(path, dotted, at_edge, True)
                note(path, dotted, value_of_size(schema, path, edge + step), False)
        for name, field in schema.get("properties", {}).items():
            if path != "spec.worker" or name != "template":
                walk(field, f"{path}.{name}", f"{dotted}.{name}".lstrip("."))
        items = schema.get("items")
        if items and items["type"] == "object":
            walk(items, f"{path}[0]", f"{dotted}.0")

    walk(SCHEMA["properties"]["spec"], "spec", "")
    return found


def test_every_bound_both_ways(scratch_namespace):
    cases = bounds()
    assert len(cases) > 100, "the schema is not what this test reads"
    specs = []
    for path, changes, _ in cases:
        needs_child = ".children[0]" in path
        specs.append(
            changed(changed(INGEST, {"ingest.0.tables.0.children": [TABLE]}) if needs_child else INGEST, changes)
        )
    wrong = []
    for (path, changes, within), message in zip(cases, tried(scratch_namespace, specs).values(), strict=True):
        named = message is not None and re.search(
            rf"(?<![\w.]){re.escape(path)}: (Invalid|Too long|Too many|Required)", message
        )
        if (message is not None) if within else not named:
            shown = {
                key: value if len(str(value)) < 60 else f"{str(value)[:20]}... ({len(value)})"
                for key, value in changes.items()
            }
            wrong.append(f"{path} {'within' if within else 'beyond'} {shown}: {message}")
    assert not wrong, "\n".join(wrong)
