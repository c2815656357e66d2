"""The CustomResourceDefinition before a real API server: every rule both ways, defaults, columns, scale, explain."""

import copy
import json
import os
import re

import pytest

from e2e.harness import ROOT, kube, shared
from e2e.harness.manifests import load

pytestmark = pytest.mark.usefixtures("crd")

SCHEMA = load((ROOT / "crds" / "jobqueue.yaml").read_text(encoding="utf-8"))["spec"]["versions"][0]["schema"][
    "openAPIV3Schema"
]
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


@pytest.fixture(scope="module")
def place(cluster, crd):
    """One namespace for all that is only tried, never kept."""
    namespace = kube.Namespace(cluster, f"e2e-crd-{os.urandom(2).hex()}")
    yield namespace
    namespace.remove()


def tried(place, specs):
    """What the API server (not kubectl) says of many specs in one go: index to message, None where it takes it."""
    objects = [manifest(spec, f"try-{number}") for number, spec in enumerate(specs)]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, ensure_ascii=False)
    try:
        place.kubectl("apply", "--dry-run=server", "--validate=false", "-f", "-", stdin=text)
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


# (the fields that are changed, the field that the message names, the words of the rule)
BROKEN = {
    "redis with both": (
        SCALER,
        {"queue.redis.urlSecretKeyRef": REFERENCE},
        "spec.queue.redis",
        "give exactly one of url and urlSecretKeyRef",
    ),
    "redis with neither": (
        SCALER,
        {"queue.redis": {}},
        "spec.queue.redis",
        "give exactly one of url and urlSecretKeyRef",
    ),
    "redis with tls alone": (
        SCALER,
        {"queue.redis": {"tls": {}}},
        "spec.queue.redis",
        "give exactly one of url and urlSecretKeyRef",
    ),
    "a URL of something else": (
        SCALER,
        {"queue.redis.url": "http://r"},
        "spec.queue.redis.url",
        "a Redis URL starts with redis://",
    ),
    "a socket": (
        SCALER,
        {"queue.redis.url": "unix:///run/redis.sock"},
        "spec.queue.redis.url",
        "a Redis URL starts with redis://",
    ),
    "an order that there is not": (SCALER, {"queue.order": "Fifo"}, "spec.queue.order", "Unsupported value"),
    "a URL without a scheme": (
        SCALER,
        {"queue.redis.url": "r:6379"},
        "spec.queue.redis.url",
        "a Redis URL starts with redis://",
    ),
    "the cloud's credentials": (
        SCALER,
        {"queue.redis.url": "redis://169.254.169.254:80"},
        "spec.queue.redis.url",
        "link-local",
    ),
    "link-local behind a login": (
        SCALER,
        {"queue.redis.url": "redis://u:p@169.254.169.254"},
        "spec.queue.redis.url",
        "link-local",
    ),
    "link-local, the second host": (
        SCALER,
        {"queue.redis.url": "redis+cluster://a,169.254.1.1"},
        "spec.queue.redis.url",
        "link-local",
    ),
    "link-local IPv6": (SCALER, {"queue.redis.url": "redis://[FE80::1]:6379"}, "spec.queue.redis.url", "link-local"),
    "a name twice": (SCALER, {"queue.names": ["a", "b", "a"]}, "spec.queue.names", "each name may appear once"),
    "database with both": (
        INGEST,
        {"database.url": "sqlite:x"},
        "spec.database",
        "give exactly one of url and urlSecretKeyRef",
    ),
    "database with neither": (INGEST, {"database": {}}, "spec.database", "give exactly one of url and urlSecretKeyRef"),
    "a database URL of something else": (
        INGEST,
        {"database": {"url": "redis://d"}},
        "spec.database.url",
        "a database URL starts with postgres://",
    ),
    "a link-local database": (
        INGEST,
        {"database": {"url": "postgres://169.254.0.1/d"}},
        "spec.database.url",
        "link-local",
    ),
    "a time zone that is none": (INGEST, {"database.timeZone": "+8"}, "spec.database.timeZone", "should match"),
    "a budget without a size": (INGEST, {"database.budget": "b"}, "spec.database", "a budget needs maxConnections"),
    "ingest without database": (INGEST, {"database": None}, "spec", "ingest needs database"),
    "database without ingest": (INGEST, {"ingest": None}, "spec", "database is used by ingest only"),
    "functions of a List": (
        INGEST,
        {"queue.protocol": "List", "ingest.0.functions": ["f"]},
        "spec",
        "ingest[].functions are RQ function names",
    ),
    "functions of a Stream": (
        INGEST,
        {"queue.protocol": "Stream", "ingest.0.functions": ["f"]},
        "spec",
        "ingest[].functions are RQ function names",
    ),
    "connections for no worker": (
        INGEST,
        {"database.maxConnections": 3},
        "spec.database.maxConnections",
        "it must be at least worker.concurrency",
    ),
    "update without a key": (
        INGEST,
        {"ingest.0.tables.0.onConflict": "Update"},
        "spec.ingest[0].tables[0]",
        "onConflict: Update needs key",
    ),
    "update with an empty key": (
        INGEST,
        {"ingest.0.tables.0.onConflict": "Update", "ingest.0.tables.0.key": []},
        "spec.ingest[0].tables[0]",
        "onConflict: Update needs key",
    ),
    "a child's update without a key": (
        INGEST,
        {"ingest.0.tables.0.children": [{**TABLE, "onConflict": "Update"}]},
        "spec.ingest[0].tables[0].children[0]",
        "onConflict: Update needs key",
    ),
    "a bare word for a column": (
        INGEST,
        {"ingest.0.tables.0.columns": {"false": "record.no"}},
        "spec.ingest[0].tables[0]",
        "put the name in quotes",
    ),
    "a bare word for a child's column": (
        INGEST,
        {"ingest.0.tables.0.children": [{**TABLE, "columns": {"true": "item.on"}}]},
        "spec.ingest[0].tables[0].children[0]",
        "put the name in quotes",
    ),
    "backoff above its limit": (
        SCALER,
        {"retry": {"backoffSeconds": 301}},
        "spec.retry",
        "backoffSeconds may not exceed maxBackoffSeconds",
    ),
    "min above max": (
        SCALER,
        {"scaling": {"minReplicas": 11}},
        "spec.scaling",
        "minReplicas may not exceed maxReplicas",
    ),
    "static without a number": (
        SCALER,
        {"scaling": {"onQueueFailure": "Static"}},
        "spec.scaling",
        "staticReplicas goes with onQueueFailure: Static",
    ),
    "a number without static": (
        SCALER,
        {"scaling": {"staticReplicas": 2}},
        "spec.scaling",
        "staticReplicas goes with onQueueFailure: Static",
    ),
    "static above max": (
        SCALER,
        {"scaling": {"onQueueFailure": "Static", "staticReplicas": 11}},
        "spec.scaling",
        "staticReplicas must lie between minReplicas and maxReplicas",
    ),
    "static below min": (
        SCALER,
        {"scaling": {"onQueueFailure": "Static", "staticReplicas": 1, "minReplicas": 2}},
        "spec.scaling",
        "staticReplicas must lie between minReplicas and maxReplicas",
    ),
    "a schedule that changes nothing": (
        SCALER,
        {"scaling": {"schedules": [without(SCHEDULE, "minReplicas")]}},
        "spec.scaling.schedules[0]",
        "a schedule needs minReplicas, maxReplicas or both",
    ),
    "a schedule's min above its max": (
        SCALER,
        {"scaling": {"schedules": [{**SCHEDULE, "minReplicas": 3, "maxReplicas": 2}]}},
        "spec.scaling.schedules[0]",
        "minReplicas of a schedule may not exceed its maxReplicas",
    ),
    "a schedule's min above the queue's max": (
        SCALER,
        {"scaling": {"schedules": [{**SCHEDULE, "minReplicas": 11}]}},
        "spec.scaling",
        "minReplicas of a schedule may not exceed maxReplicas",
    ),
    "a schedule without a length": (
        SCALER,
        {"scaling": {"schedules": [{**SCHEDULE, "end": SCHEDULE["start"]}]}},
        "spec.scaling.schedules[0]",
        "a schedule starts and ends at different times",
    ),
    "a schedule that is no cron": (
        SCALER,
        {"scaling": {"schedules": [{**SCHEDULE, "start": "8:00"}]}},
        "spec.scaling.schedules[0].start",
        "should match",
    ),
    "a schedule's seconds": (
        SCALER,
        {"scaling": {"schedules": [{**SCHEDULE, "end": "0 0 18 * * *"}]}},
        "spec.scaling.schedules[0].end",
        "should match",
    ),
    "a schedule without a name": (
        SCALER,
        {"scaling": {"schedules": [without(SCHEDULE, "name")]}},
        "spec.scaling.schedules[0].name",
        "Required value",
    ),
    "two schedules of one name": (
        SCALER,
        {"scaling": {"schedules": [SCHEDULE, {**SCHEDULE, "end": "0 20 * * *"}]}},
        "spec.scaling.schedules[1]",
        "Duplicate value",
    ),
    "grace as short as the drain": (
        SCALER,
        {"worker": {"drainSeconds": 30, "template": {"spec": {"terminationGracePeriodSeconds": 30}}}},
        "spec.worker",
        "drainSeconds must be less than template.spec.terminationGracePeriodSeconds",
    ),
    "no queue": (SCALER, {"queue": None}, "spec.queue", "Required value"),
    "no names": (SCALER, {"queue.names": None}, "spec.queue.names", "Required value"),
    "no redis": (SCALER, {"queue.redis": None}, "spec.queue.redis", "Required value"),
    "a reference without a key": (
        SCALER,
        {"queue.redis": {"urlSecretKeyRef": {"name": "w"}}},
        "spec.queue.redis.urlSecretKeyRef.key",
        "Required value",
    ),
    "a reference without a name": (
        SCALER,
        {"queue.redis": {"urlSecretKeyRef": {"key": "w"}}},
        "spec.queue.redis.urlSecretKeyRef.name",
        "Required value",
    ),
    "a recipe without tables": (INGEST, {"ingest": [{"record": "job"}]}, "spec.ingest[0].tables", "Required value"),
    "a table without columns": (
        INGEST,
        {"ingest.0.tables.0.columns": None},
        "spec.ingest[0].tables[0].columns",
        "Required value",
    ),
    "a table without a name": (
        INGEST,
        {"ingest.0.tables.0.table": None},
        "spec.ingest[0].tables[0].table",
        "Required value",
    ),
    "a mistyped protocol": (
        SCALER,
        {"queue.protocol": "rq"},
        "spec.queue.protocol",
        'supported values: "RQ", "List", "Stream"',
    ),
    "a mistyped mode": (
        SCALER,
        {"scaling": {"mode": "auto"}},
        "spec.scaling.mode",
        'supported values: "Auto", "Manual", "Paused"',
    ),
    "a mistyped failure policy": (
        SCALER,
        {"scaling": {"onQueueFailure": "Zero"}},
        "spec.scaling.onQueueFailure",
        'supported values: "Hold", "Static"',
    ),
    "a mistyped conflict policy": (
        INGEST,
        {"ingest.0.tables.0.onConflict": "Skip"},
        "spec.ingest[0].tables[0].onConflict",
        'supported values: "Fail", "Ignore", "Update"',
    ),
    "text for a number": (
        SCALER,
        {"worker": {"concurrency": "4"}},
        "spec.worker.concurrency",
        "must be of type integer",
    ),
    "a number for text": (
        INGEST,
        {"ingest.0.tables.0.columns": {"a": 1}},
        "spec.ingest[0].tables[0].columns.a",
        "must be of type string",
    ),
}

KEPT = {
    "the least": (SCALER, {}),
    "redis from a Secret": (SCALER, {"queue.redis": {"urlSecretKeyRef": REFERENCE}}),
    "every kind of Redis": (SCALER, {"queue.redis.url": "rediss+sentinel://u:p@a:1,b/m/0"}),
    "a Redis Cluster": (SCALER, {"queue.redis.url": "redis+cluster://a,b:7000"}),
    "an address that only looks link-local": (SCALER, {"queue.redis.url": "redis://10.169.254.1"}),
    "tls": (SCALER, {"queue.redis.tls": {"caSecretKeyRef": REFERENCE, "clientCertificateSecretRef": {"name": "c"}}}),
    "several names": (SCALER, {"queue.names": ["a", "b"]}),
    "a recipe": (INGEST, {}),
    "a database URL": (INGEST, {"database": {"url": "mysql://d/d"}}),
    "a time zone by its name": (INGEST, {"database.timeZone": "America/Port-au-Prince"}),
    "a time zone by its offset": (INGEST, {"database.timeZone": "+05:45"}),
    "the server's time zone": (INGEST, {"database.timeZone": "Server"}),
    "a budget": (INGEST, {"database.budget": "b", "database.maxConnections": 4}),
    "functions": (INGEST, {"ingest.0.functions": ["f"]}),
    "a List with a recipe": (INGEST, {"queue.protocol": "List"}),
    "a Stream with an empty list of functions": (INGEST, {"queue.protocol": "Stream", "ingest.0.functions": []}),
    "connections for one worker": (INGEST, {"database.maxConnections": 3, "worker": {"concurrency": 3}}),
    "update with a key": (INGEST, {"ingest.0.tables.0.onConflict": "Update", "ingest.0.tables.0.key": ["id"]}),
    "a child's update with a key": (
        INGEST,
        {"ingest.0.tables.0.children": [{**TABLE, "onConflict": "Update", "key": ["id"]}]},
    ),
    "backoff at its limit": (SCALER, {"retry": {"backoffSeconds": 300}}),
    "min at max": (SCALER, {"scaling": {"minReplicas": 10}}),
    "static between": (SCALER, {"scaling": {"onQueueFailure": "Static", "staticReplicas": 10, "minReplicas": 10}}),
    "a schedule's floor": (SCALER, {"scaling": {"schedules": [{**SCHEDULE, "minReplicas": 10}]}}),
    "a schedule's ceiling, in a zone": (
        SCALER,
        {
            "scaling": {
                "schedules": [
                    {
                        "name": "d",
                        "start": "0 1 * * SUN",
                        "end": "*/5 4 * * 1-5",
                        "timeZone": "America/Port-au-Prince",
                        "maxReplicas": 1,
                    }
                ]
            }
        },
    ),
    "a schedule's floor at its ceiling": (
        SCALER,
        {"scaling": {"schedules": [{**SCHEDULE, "minReplicas": 2, "maxReplicas": 2}]}},
    ),
    "two schedules": (SCALER, {"scaling": {"schedules": [SCHEDULE, {**SCHEDULE, "name": "night"}]}}),
    "grace above the drain": (
        SCALER,
        {"worker": {"drainSeconds": 30, "template": {"spec": {"terminationGracePeriodSeconds": 31}}}},
    ),
    "any template": (
        SCALER,
        {"worker": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"nodeSelector": {"disk": "ssd"}}}}},
    ),
    "paused from the start": (SCALER, {"scaling": {"mode": "Paused"}, "replicas": 3}),
}


@pytest.fixture(scope="module")
def answers(place):
    """Both tables in one command."""
    cases = {**BROKEN, **KEPT}
    return shared.once(
        "answers",
        lambda: dict(zip(cases, tried(place, [changed(*case[:2]) for case in cases.values()]).values(), strict=True)),
    )


@pytest.mark.parametrize("case", BROKEN)
def test_rejected_with_the_field_and_the_rule(answers, case):
    field, words = BROKEN[case][2:]
    message = answers[case]
    assert message, "it was accepted"
    assert re.search(rf"(?<![\w.]){re.escape(field)}: ", message), message
    assert words in message, message


@pytest.mark.parametrize("case", KEPT)
def test_accepted(answers, case):
    assert answers[case] is None


@pytest.mark.parametrize(
    "wrong, hint",
    [({"scalling": {}}, "spec.scalling"), ({"queue": {**SCALER["queue"], "nmes": ["a"]}}, "spec.queue.nmes")],
)
def test_unknown_fields_are_refused(place, wrong, hint):
    with pytest.raises(kube.Failed, match=f'unknown field "{hint}"'):
        place.apply(manifest({**SCALER, **wrong}))


@pytest.mark.parametrize("name", ["a.b", "a" * 64])
def test_names_that_cannot_be_labels_are_refused(place, name):
    with pytest.raises(kube.Failed, match=r"metadata\.name: lower case letters, digits and - only, at most 63"):
        place.apply(manifest(SCALER, name))


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


def test_every_bound_both_ways(place):
    cases = bounds()
    assert len(cases) > 100, "the schema is not what this test reads"
    specs = []
    for path, changes, _ in cases:
        needs_child = ".children[0]" in path
        specs.append(
            changed(changed(INGEST, {"ingest.0.tables.0.children": [TABLE]}) if needs_child else INGEST, changes)
        )
    wrong = []
    for (path, changes, within), message in zip(cases, tried(place, specs).values(), strict=True):
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


def test_defaults(namespace):
    namespace.apply(manifest({**INGEST, "scaling": {}, "worker": {}}))
    spec = namespace.queue("q")["spec"]
    assert spec["replicas"] == 1
    assert spec["queue"] == {
        **SCALER["queue"],
        "protocol": "RQ",
        "keyPrefix": "rq",
        "order": "Strict",
        "leaseSeconds": 30,
        "resultTtlSeconds": 500,
        "failureTtlSeconds": 31_536_000,
        "consumerGroup": "jobqueue",
        "limits": {"maxBytes": 16 << 20, "maxInflatedBytes": 64 << 20, "maxDepth": 128},
    }
    assert spec["retry"] == {"maxAttempts": 5, "backoffSeconds": 1, "maxBackoffSeconds": 300}
    assert spec["scaling"] == {
        "mode": "Auto",
        "minReplicas": 0,
        "maxReplicas": 10,
        "targets": {},
        "scaleUp": {"stabilizationSeconds": 0},
        "scaleDown": {"protectBusy": False},
        "onQueueFailure": "Hold",
    }
    assert spec["worker"] == {"concurrency": 4, "batchSize": 200, "drainSeconds": 60}
    assert spec["database"] == {"urlSecretKeyRef": REFERENCE, "holdSeconds": 60, "ledgerRetentionDays": 7}
    assert spec["ingest"][0]["tables"][0] == {**TABLE, "onConflict": "Fail", "id": "id"}


def test_the_protocol_never_changes(namespace):
    namespace.apply(manifest(SCALER))
    namespace.apply(manifest(changed(SCALER, {"queue.protocol": "RQ", "queue.names": ["a", "b"]})))
    with pytest.raises(
        kube.Failed, match=r"spec\.queue\.protocol: .*protocol is immutable: make a new JobQueue instead"
    ):
        namespace.patch({"spec": {"queue": {"protocol": "List"}}}, "q")


REPLICAS_RULE = r"spec.replicas: .*replicas can be changed in scaling.mode: Manual only"


@pytest.mark.parametrize("mode", ["Auto", "Paused"])
def test_replicas_are_fixed_unless_manual(namespace, mode):
    namespace.apply(manifest(changed(SCALER, {"scaling.mode": mode, "replicas": 2})))
    with pytest.raises(kube.Failed, match=REPLICAS_RULE):
        namespace.patch({"spec": {"replicas": 3}}, "q")
    with pytest.raises(kube.Failed, match=REPLICAS_RULE):
        namespace.kubectl("scale", "jobqueue/q", "--replicas=3")
    assert namespace.queue("q")["spec"]["replicas"] == 2
    namespace.patch({"spec": {"scaling": {"mode": "Manual"}, "replicas": 3}}, "q")
    with pytest.raises(kube.Failed, match=REPLICAS_RULE):
        namespace.patch({"spec": {"scaling": {"mode": mode}, "replicas": 4}}, "q")
    namespace.patch({"spec": {"scaling": {"mode": mode}}}, "q")
    assert namespace.queue("q")["spec"]["replicas"] == 3


def test_scale_subresource_in_manual_mode(namespace):
    manual = manifest(changed(SCALER, {"scaling.mode": "Manual"}))
    namespace.apply(manual)
    namespace.kubectl("scale", "jobqueue/q", "--replicas=3")
    namespace.kubectl("scale", "jobq/q", "--replicas=4", "--current-replicas=3")
    scale = namespace.cluster.raw(f"{kube.GROUP}/namespaces/{namespace.name}/jobqueues/q/scale")
    assert scale["spec"]["replicas"] == 4
    namespace.apply(manual)
    assert namespace.queue("q")["spec"]["replicas"] == 4, "applying the manifest again leaves what `kubectl scale` set"
    with pytest.raises(kube.Failed, match=r"spec\.replicas"):
        namespace.kubectl("scale", "jobqueue/q", "--replicas=10001")


def test_the_companies_example_is_accepted(place):
    for manifest_file in (
        ROOT / "examples" / "companies" / "jobqueue.yaml",
        ROOT / "crds" / "tests" / "companies.yaml",
    ):
        place.kubectl("apply", "--dry-run=server", "-f", str(manifest_file))


def headers(text):
    return text.splitlines()[0].split()


def test_columns_and_names(namespace):
    namespace.apply(manifest(SCALER))
    narrow = ["NAME", "READY", "MODE", "WORKERS", "DESIRED", "WAITING", "RUNNING", "OLDEST", "REASON", "AGE"]
    assert headers(namespace.kubectl("get", "jobq")) == narrow
    assert headers(namespace.kubectl("get", "jobqueues", "-o", "wide")) == [
        *narrow[:-1],
        "FAILED",
        "ETA",
        "LIMITED",
        "IMAGE",
        "AGE",
    ]
    assert "jobqueue.jobqueue.dev/q" in namespace.kubectl("get", "jobqueue", "-o", "name")
    listed = namespace.cluster.kubectl("api-resources", "--categories=jobqueue", "--no-headers")
    assert listed.split()[:2] == ["jobqueues", "jobq"]


def test_columns_show_the_status(namespace):
    """An operator may be at work on the same object, so the status is written until it is seen."""
    namespace.apply(manifest(changed(SCALER, {"worker.image": "example/worker:1"})))
    condition = {"status": "True", "message": "", "lastTransitionTime": "2024-05-06T07:08:09Z"}
    status = {
        "readyReplicas": 2,
        "desiredReplicas": 3,
        "queue": {"waiting": 8400, "running": 12, "failed": 7, "oldestWaitSeconds": 41, "drainEtaSeconds": 40},
        "conditions": [
            {**condition, "type": "Ready", "reason": "AsSpecified"},
            {**condition, "type": "ScalingLimited", "reason": "MaxReplicas"},
        ],
    }

    def shown():
        namespace.patch({"status": status}, "q", subresource="status")
        cells = namespace.kubectl("get", "jobq", "q", "-o", "wide", "--no-headers").split()
        return cells[:-1] == [
            "q",
            "True",
            "Auto",
            "2",
            "3",
            "8400",
            "12",
            "41",
            "AsSpecified",
            "7",
            "40",
            "MaxReplicas",
            "example/worker:1",
        ]

    kube.until(shown, lambda: namespace.kubectl("get", "jobq", "q", "-o", "wide"), seconds=10)


def test_before_an_operator_has_looked(place):
    """No tool may take a queue for ready that nobody has looked at."""
    shown = json.loads(
        place.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(manifest(SCALER)))
    )
    assert [(each["type"], each["status"], each["reason"]) for each in shown["status"]["conditions"]] == [
        ("Ready", "Unknown", "Pending")
    ]


def test_status_is_written_through_its_subresource_only(namespace):
    namespace.apply({**manifest(SCALER), "status": {"selector": "made=up"}})
    assert "made=up" not in json.dumps(namespace.queue("q").get("status", {}))


def test_explain_reads_well(cluster):
    def explained(path):
        return cluster.kubectl("explain", path)

    scaling = explained("jobqueue.spec.scaling")
    assert "How many workers there should be." in scaling
    for field, words in {
        "mode": "Auto: the backlog decides.",
        "minReplicas": "0: none while there is nothing to do.",
        "maxReplicas": "The most workers.",
        "idleSeconds": "How long the queue must be empty",
        "targets": "the largest answer wins",
        "scaleDown": "Limits on shrinking.",
        "onQueueFailure": "Hold keeps the number of workers",
    }.items():
        shown = re.search(rf"^  {field}\t<(.*?)>.*?(?=^  \w+\t<|\Z)", scaling, re.M | re.S)
        assert shown and words in re.sub(r"\s+", " ", shown[0]), f"{field}:\n{scaling}"
    everything = cluster.kubectl("explain", "jobqueue", "--recursive")
    assert "urlSecretKeyRef" in everything and "stabilizationSeconds" in everything
    for path in (
        "jobqueue",
        "jobqueue.spec",
        "jobqueue.spec.queue",
        "jobqueue.spec.worker",
        "jobqueue.status",
        "jobqueue.status.queue",
        "jobqueue.spec.ingest.tables.children",
    ):
        assert "<no description>" not in explained(path), path


def test_small_enough_for_client_side_apply(cluster):
    """`kubectl apply` keeps the object in an annotation, and those may have 256 KiB altogether."""
    definition = load((ROOT / "crds" / "jobqueue.yaml").read_text(encoding="utf-8"))
    assert len(json.dumps(definition)) < 128 * 1024
    said = cluster.kubectl(
        "apply", "--dry-run=server", "--force-conflicts=false", "-f", str(ROOT / "crds" / "jobqueue.yaml")
    )
    assert "jobqueues.jobqueue.dev" in said
