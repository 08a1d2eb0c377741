"""local.settings.json, host.json and what is said when they are wrong."""

from __future__ import annotations

import json

import pytest

from devhost.functions_host.host_json import HostConfig, read_host_config
from devhost.functions_host.json_config import SettingsError, read_section
from devhost.functions_host.settings import apply_settings, read_local_settings, whole_number


@pytest.fixture
def file(tmp_path):
    def write(content, name="host.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_values_become_settings_and_the_environment_wins(file):
    settings = read_local_settings(
        file({"Values": {"A": "1", "B": "2"}, "Host": {"LocalHttpPort": 8080}, "Other": {}})
    )
    environ = {"A": "already here"}
    apply_settings(settings, environ)
    assert environ == {"A": "already here", "B": "2"}
    assert settings.port == 8080


def test_without_a_file_there_are_no_settings(tmp_path):
    settings = read_local_settings(tmp_path / "none.json")
    assert (settings.values, settings.port) == ({}, 7071)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "local.settings.json"
    path.write_bytes(b'\xef\xbb\xbf{"Values": {"A": "1"}}')
    assert read_local_settings(path).values == {"A": "1"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"Values": {"A": 1}}, "Values.A: expected a string, got 1"),
        ({"Values": []}, "Values: expected an object, got []"),
        ({"Host": {"LocalHttpPort": "x"}}, "Host.LocalHttpPort: expected a whole number"),
        ({"IsEncrypted": True}, "func settings decrypt"),
        ("{", "not valid JSON"),
        ("[]", "expected one JSON object"),
    ],
)
def test_wrong_settings_are_named(file, content, said):
    with pytest.raises(SettingsError, match=r"settings\.json") as raised:
        read_local_settings(file(content, "local.settings.json"))
    assert said in str(raised.value)


def test_host_json_has_defaults(tmp_path):
    assert read_host_config(tmp_path / "host.json") == HostConfig()


def test_host_json_is_read_and_what_is_unknown_is_left_alone(file):
    config = read_host_config(
        file(
            {
                "version": "2.0",
                "logging": {"anything": [1]},
                "extensions": {
                    "http": {
                        "routePrefix": "/v1/",
                        "maxConcurrentRequests": 5,
                        "maxOutstandingRequests": 7,
                    },
                    "durableTask": {
                        "hubName": "H",
                        "maxConcurrentActivityFunctions": 3,
                        "maxConcurrentOrchestratorFunctions": 2,
                        "maxGrpcMessageSizeInBytes": 99,
                        "storageProvider": {"connectionStringName": "Other"},
                    },
                    "eventHubs": {},
                },
            }
        )
    )
    assert config.http.route_prefix == "v1"
    assert (config.http.max_concurrent, config.http.max_outstanding) == (5, 7)
    assert (config.durable.hub_name, config.durable.connection_name) == ("H", "Other")
    assert (config.durable.max_activities, config.durable.max_orchestrators) == (3, 2)
    assert config.durable.max_message_bytes == 99


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"version": "1.0"}, 'version: expected the string "2.0", got "1.0"'),
        ({"extensions": {"http": {"routePrefix": 5}}}, "extensions.http.routePrefix"),
        ({"extensions": {"http": {"maxConcurrentRequests": 0}}}, "above 0, or -1 for no limit"),
        (
            {"extensions": {"durableTask": {"maxConcurrentActivityFunctions": True}}},
            "maxConcurrentActivityFunctions: expected a whole number, at least 1, got true",
        ),
        ({"extensions": {"durableTask": {"hubName": "x" * 9, "storageProvider": 1}}}, "an object"),
    ],
)
def test_wrong_host_settings_are_named(file, content, said):
    with pytest.raises(SettingsError) as raised:
        read_host_config(file(content))
    assert said in str(raised.value)


def test_a_long_wrong_value_is_shown_in_part(file):
    with pytest.raises(SettingsError) as raised:
        read_section(file({"a": "x" * 500})).section("a")
    assert len(str(raised.value)) < 150


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", ""])
def test_a_setting_that_is_no_whole_number_is_refused(text):
    with pytest.raises(SettingsError, match="THREADS: expected a whole number"):
        whole_number({"THREADS": text}, "THREADS", 4)


def test_a_whole_number_is_read_or_its_default_taken():
    assert whole_number({"THREADS": "9"}, "THREADS", 4) == 9
    assert whole_number({}, "THREADS", 4) == 4
