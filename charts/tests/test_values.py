"""The values: their schema, and mistakes in them."""

import json

import pytest
import yaml

from .rendering import CHART, Refused


@pytest.mark.parametrize(
    "values, named",
    [
        ({"replica": 2}, "replica"),
        ({"image": {"tagg": "1"}}, "tagg"),
        ({"replicas": "2"}, "replicas"),
        ({"scope": "Everything"}, "scope"),
        ({"operator": {"pollIntervalMs": 1}}, "pollIntervalMs"),
        ({"operator": {"redis": {"deniedAddresses": ["everywhere"]}}}, "deniedAddresses"),
        ({"operator": {"rollout": {"maxUnavailableQueues": 0}}}, "maxUnavailableQueues"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"serviceMonitor": {"interval": 30}}, "interval"),
        ({"podLabels": {"a": 1}}, "podLabels"),
        ({"fullnameOverride": "Uppercase"}, "fullnameOverride"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_mistake_in_the_values_is_named(render, values, named):
    with pytest.raises(Refused, match=named):
        render(values)


def test_every_value_is_in_the_schema_and_the_other_way_round():
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))

    def compare(path, values, schema):
        known = schema.get("properties")
        if known is None or not isinstance(values, dict):
            return
        missing = set(known) - set(values) - {"global", "claims"}
        assert not missing, f"{path}: in the schema, not in values.yaml: {missing}"
        assert schema["additionalProperties"] is False, path
        for name, value in values.items():
            compare(f"{path}.{name}", value, known[name])

    compare("values", values, schema)
