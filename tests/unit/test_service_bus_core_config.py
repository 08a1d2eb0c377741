"""The emulator's config.json: what it means, and how its faults are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devhost.service_bus.config.durations import milliseconds
from devhost.service_bus.config.load import DEFAULT_CONFIG, ConfigError, load
from devhost.service_bus.core.settings import HOUR, MINUTE, QueueSettings
from devhost.service_bus.wire.sections import Readable


def written(tmp_path: Path, *, queues: Any = (), topics: Any = ()) -> Path:
    path = tmp_path / "config.json"
    namespace = {"Name": "sbemulatorns", "Queues": list(queues), "Topics": list(topics)}
    content = {"UserConfig": {"Namespaces": [namespace], "Logging": {"Type": "File"}}}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def queue(name: str = "orders", **properties: object) -> dict[str, object]:
    return {"Name": name, "Properties": properties}


def test_the_app_finds_its_queues_by_default() -> None:
    queues = load().queues

    assert set(queues) == {"inference-requests", "inference-results", "inference-rejected"}
    assert queues["inference-requests"] == QueueSettings(
        lock_duration=MINUTE,
        max_delivery_count=10,
        time_to_live=HOUR,
        dead_letter_on_expiration=True,
        duplicate_window=5 * MINUTE,
    )
    assert queues["inference-results"].duplicate_window == 5 * MINUTE
    assert not queues["inference-results"].requires_session


def test_the_default_file_keeps_to_the_emulators_narrower_limits() -> None:
    """Those of Config-schema.json, so that the emulator takes the file as well."""
    (namespace,) = json.loads(DEFAULT_CONFIG.read_bytes())["UserConfig"]["Namespaces"]
    assert namespace["Name"] == "sbemulatorns"
    assert len(namespace["Queues"]) + len(namespace["Topics"]) <= 50
    for each in load().queues.values():
        assert 5_000 <= each.lock_duration <= 5 * MINUTE
        assert 1 <= each.max_delivery_count <= 10
        assert 5 * MINUTE <= each.time_to_live <= HOUR
        assert each.duplicate_window is None or 5_000 <= each.duplicate_window <= 5 * MINUTE


def test_what_a_file_leaves_out_is_the_emulators_default(tmp_path: Path) -> None:
    assert load(written(tmp_path, queues=[{"Name": "orders"}])).queues == {
        "orders": QueueSettings(
            lock_duration=MINUTE, max_delivery_count=3, time_to_live=HOUR, duplicate_window=None
        )
    }


def test_topics_subscriptions_and_rules_are_read(tmp_path: Path) -> None:
    rules = [
        {
            "Name": "by-properties",
            "Properties": {
                "FilterType": "Correlation",
                "CorrelationFilter": {"Label": "paint", "Properties": {"colour": "red"}},
            },
        },
        {
            "Name": "by-sql",
            "Properties": {"FilterType": "Sql", "SqlFilter": {"SqlExpression": "size > 10"}},
        },
    ]
    topic = {
        "Name": "events",
        "Properties": {"RequiresDuplicateDetection": True},
        "Subscriptions": [{"Name": "all"}, {"Name": "some", "Rules": rules}],
    }
    settings = load(written(tmp_path, topics=[topic])).topics["events"]

    assert settings.duplicate_window == 20_000
    all_of_it, some = settings.subscriptions
    assert (all_of_it.name, all_of_it.filters) == ("all", ())
    by_properties, by_sql = some.filters
    assert by_properties(Readable({"subject": "paint"}, {"colour": "red"}))
    assert not by_properties(Readable({"subject": "paint"}, {}))
    assert by_sql(Readable({}, {"size": 11}))


def one_rule(**properties: object) -> list[dict[str, object]]:
    rules = [{"Name": "r", "Properties": properties}]
    return [{"Name": "events", "Subscriptions": [{"Name": "s", "Rules": rules}]}]


@pytest.mark.parametrize(
    ("entities", "fault"),
    [
        (
            {"queues": [queue(LockDuration="PT6M")]},
            "UserConfig.Namespaces[0].Queues[0].Properties.LockDuration: expected a duration"
            " longer than nothing, up to PT5M",
        ),
        (
            {"queues": [queue(LockDuration="60s")]},
            "Queues[0].Properties.LockDuration: '60s' is not an ISO 8601 duration",
        ),
        ({"queues": [queue(DefaultMessageTimeToLive=5)]}, "DefaultMessageTimeToLive: 5 is not"),
        ({"queues": [queue(MaxDeliveryCount=0)]}, "Queues[0].Properties.MaxDeliveryCount: Input"),
        ({"queues": [queue(EnablePartitioning=True)]}, "Properties.EnablePartitioning: Extra"),
        ({"queues": [queue("-bad-")]}, "Queues[0].Name: String should match"),
        (
            {"queues": [queue("a"), queue("A")]},
            "Queues[1].Name: UserConfig.Namespaces[0].Queues[0] has this name already",
        ),
        (
            {"queues": [queue(ForwardTo="nowhere")]},
            "Queues[0].Properties.ForwardTo: no queue or topic is named 'nowhere'",
        ),
        (
            {"queues": [queue(ForwardTo="orders", RequiresSession=True)]},
            "Queues[0].Properties: an entity that requires sessions cannot forward",
        ),
        (
            {"topics": one_rule(FilterType="Sql", SqlFilter={"SqlExpression": "a + 1 = 2"})},
            "Topics[0].Subscriptions[0].Rules[0].Properties.SqlFilter: this SQL filter is not"
            " supported here: '+ 1 = 2' is not understood",
        ),
        (
            {
                "topics": one_rule(
                    FilterType="Sql",
                    SqlFilter={"SqlExpression": "1=1"},
                    Action={"SqlExpression": "SET sys.To = 'x'"},
                )
            },
            "Rules[0].Properties.Action: rule actions are not supported here",
        ),
        ({"topics": one_rule(FilterType="Sql")}, "Rules[0].Properties.SqlFilter: Field required"),
        (
            {"topics": one_rule(FilterType="Correlation", CorrelationFilter={})},
            "Properties.CorrelationFilter: a correlation filter names one property at least",
        ),
        ({"topics": one_rule(FilterType="Magic")}, "Rules[0].Properties: Input tag 'Magic'"),
    ],
)
def test_a_fault_is_told_with_its_path(
    entities: dict[str, Any], fault: str, tmp_path: Path
) -> None:
    path = written(tmp_path, **entities)
    with pytest.raises(ConfigError) as raised:
        load(path)
    assert fault in str(raised.value)
    assert str(raised.value).startswith(str(path))


def test_every_fault_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, queues=[queue("a", LockDuration="x"), queue("b", MaxDeliveryCount=0)])
    with pytest.raises(ConfigError) as raised:
        load(path)
    assert len(str(raised.value).splitlines()) == 2


def test_a_file_that_is_missing_or_no_json_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "missing.json")
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match="the file: Invalid JSON"):
        load(tmp_path / "bad.json")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("PT20S", 20_000), ("PT1H", HOUR), ("P1DT2H3M4S", 93_784_000), ("P7D", 7 * 24 * HOUR)],
)
def test_durations(text: str, expected: int) -> None:
    assert milliseconds(text) == expected


@given(st.text(max_size=12))
def test_other_text_is_no_duration(text: str) -> None:
    try:
        assert milliseconds(text) >= 0
    except ValueError:
        return
    assert text.startswith("P")
