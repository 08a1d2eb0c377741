"""How the durable HTTP API describes an instance, and the questions it understands."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus

import pytest
from durabletask.client import OrchestrationState, OrchestrationStatus
from durabletask.task import FailureDetails

from devhost.functions_host.instance_json import (
    QueryError,
    describe,
    flag_parameter,
    instance_query,
    status_code,
)

CREATED = datetime(2024, 1, 2, 3, 4, 5, 678)


def state(status=OrchestrationStatus.COMPLETED, **fields) -> OrchestrationState:
    payloads = {
        "serialized_input": '{"a": 1}',
        "serialized_output": '"out"',
        "serialized_custom_status": None,
        "failure_details": None,
    }
    return OrchestrationState(
        instance_id="i",
        name="n",
        runtime_status=status,
        created_at=CREATED,
        last_updated_at=CREATED,
        **payloads | fields,
    )


def test_an_instance_is_described_as_the_extension_does():
    assert describe(state(), show_input=True) == {
        "name": "n",
        "instanceId": "i",
        "runtimeStatus": "Completed",
        "input": {"a": 1},
        "customStatus": None,
        "output": "out",
        "createdTime": "2024-01-02T03:04:05Z",
        "lastUpdatedTime": "2024-01-02T03:04:05Z",
    }


def test_input_is_shown_only_if_asked_for_and_history_too():
    described = describe(state(), show_input=False, history=[{"EventType": "x"}])
    assert described["input"] is None
    assert described["historyEvents"] == [{"EventType": "x"}]


def test_a_failure_is_the_output_of_an_instance_without_one():
    failed = state(
        OrchestrationStatus.FAILED,
        serialized_output=None,
        failure_details=FailureDetails("went wrong", "ValueError", None),
    )
    assert describe(failed, show_input=False)["output"] == "went wrong"


def test_a_payload_that_is_no_json_is_shown_as_text():
    assert describe(state(serialized_output="{plain"), show_input=False)["output"] == "{plain"


@pytest.mark.parametrize(
    ("status", "failure_is_500", "code"),
    [
        (OrchestrationStatus.PENDING, False, 202),
        (OrchestrationStatus.RUNNING, False, 202),
        (OrchestrationStatus.SUSPENDED, False, 202),
        (OrchestrationStatus.CONTINUED_AS_NEW, False, 202),
        (OrchestrationStatus.COMPLETED, True, 200),
        (OrchestrationStatus.TERMINATED, True, 200),
        (OrchestrationStatus.FAILED, False, 200),
        (OrchestrationStatus.FAILED, True, 500),
    ],
)
def test_the_status_code_says_whether_the_instance_has_ended(status, failure_is_500, code):
    assert status_code(state(status), failure_is_500) is HTTPStatus(code)


def test_a_query_is_read():
    query = instance_query(
        {
            "runtimeStatus": "running, Failed",
            "createdTimeFrom": "2024-01-01T00:00:00Z",
            "createdTimeTo": "2024-01-02",
            "instanceIdPrefix": "p",
            "top": "7",
        },
        default_size=100,
    )
    assert query.runtime_status == [OrchestrationStatus.RUNNING, OrchestrationStatus.FAILED]
    assert query.created_time_from == datetime(2024, 1, 1, tzinfo=UTC)
    assert query.created_time_to == datetime(2024, 1, 2, tzinfo=UTC)
    assert (query.instance_id_prefix, query.max_instance_count) == ("p", 7)


def test_an_empty_query_asks_for_everything():
    query = instance_query({"runtimeStatus": "", "instanceIdPrefix": ""}, default_size=100)
    assert (query.runtime_status, query.instance_id_prefix) == (None, None)
    assert query.max_instance_count == 100


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"runtimeStatus": "Bored"}, "runtimeStatus: expected some of Running"),
        ({"createdTimeFrom": "soon"}, "createdTimeFrom: expected an ISO 8601 time, got 'soon'"),
        ({"top": "0"}, "top: expected a whole number above 0"),
        ({"top": "²"}, "top: expected a whole number above 0"),
        ({"top": "99999999999"}, "top: expected a whole number above 0"),
    ],
)
def test_a_wrong_query_is_named(parameters, said):
    with pytest.raises(QueryError, match=said):
        instance_query(parameters, 100)


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("TRUE", True), ("false", False), ("x", True)]
)
def test_flags(text, value):
    assert flag_parameter({"f": text}, "f", default=True) is value
    assert flag_parameter({}, "f", default=False) is False
