"""What a line came to, written and read again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches import results
from contracts.batches import Tokens
from contracts.calls import CallHandle
from contracts.errors import (
    CallFailed,
    CallRejected,
    InvalidRequest,
    NoCapacity,
    OutcomeUnknown,
    SluiceError,
)
from contracts.problems import FieldProblem

USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def test_an_answer_is_a_line_of_the_output_file():
    kept = results.answered("batch_1", "a", "req-9", {"choices": [], "usage": USAGE})
    assert kept.kind == "out"
    assert kept.text.endswith(b"\n")
    assert kept.text.count(b"\n") == 1
    line = json.loads(kept.text)
    assert line.keys() == {"id", "custom_id", "response", "error"}
    assert line["id"].startswith("batch_req_")
    assert line["custom_id"] == "a"
    assert line["error"] is None
    assert line["response"] == {
        "status_code": 200,
        "request_id": "req-9",
        "body": {"choices": [], "usage": USAGE},
    }


def test_a_line_has_the_same_id_however_often_it_is_run():
    one, other = (results.answered("batch_1", "a", request, {}) for request in ("r1", "r2"))
    assert json.loads(one.text)["id"] == json.loads(other.text)["id"]
    assert (
        json.loads(results.answered("batch_2", "a", "r", {}).text)["id"]
        != json.loads(one.text)["id"]
    )


@pytest.mark.parametrize(
    ("error", "status", "type_", "code", "param"),
    [
        (CallRejected("No."), 422, "invalid_request_error", "model_rejected_request", None),
        (CallFailed("Down."), 502, "server_error", "model_call_failed", None),
        (OutcomeUnknown("Lost."), 504, "server_error", "outcome_unknown", None),
        (NoCapacity("Full.", datetime.now(UTC)), 429, "rate_limit_error", "no_capacity", None),
        (
            InvalidRequest("No such field.", [FieldProblem(field="input.x", expected="nothing")]),
            400,
            "invalid_request_error",
            "invalid_request",
            "input.x",
        ),
        (SluiceError("A fault."), 500, "server_error", "internal_error", None),
    ],
)
def test_a_failed_line_has_the_response_of_the_same_real_time_request(
    error, status, type_, code, param
):
    kept = results.refused("batch_1", "a", error)
    assert kept.kind == "err"
    line = json.loads(kept.text)
    assert line["error"] is None
    assert line["response"]["status_code"] == status
    said = {"message": error.detail, "type": type_, "code": code, "param": param}
    assert line["response"]["body"] == {"error": said}


def test_a_line_that_was_not_run_has_no_response():
    kept = results.not_run("batch_1", "a", "batch_expired", "Too late.")
    line = json.loads(kept.text)
    assert kept.kind == "err"
    assert line["response"] is None
    assert line["error"] == {"code": "batch_expired", "message": "Too late."}


def test_an_answer_too_long_for_storage_is_a_failed_line(monkeypatch):
    monkeypatch.setattr(results, "MOST_RESULT_BYTES", 1000)
    kept = results.answered("batch_1", "a", "r", {"text": "x" * 1000})
    assert kept.kind == "err"
    assert json.loads(kept.text)["response"]["status_code"] == 413


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(custom_id=st.text(min_size=1), body=json_values)
def test_whatever_a_model_answers_is_one_line_and_read_again_is_the_same(custom_id, body):
    kept = results.answered("batch_1", custom_id, "r", body)
    assert kept.text.count(b"\n") == 1
    read_id, tokens = results.read_ended(kept.text)
    assert read_id == custom_id
    assert tokens == kept.tokens


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (USAGE, (11, 4, 7, 2, 18)),
        ({"input_tokens": 5, "output_tokens": 6, "input_tokens_details": {}}, (5, 0, 6, 0, 11)),
        ({"prompt_tokens": 3, "total_tokens": 3}, (3, 0, 0, 0, 3)),
        ({"prompt_tokens": None, "completion_tokens": -1}, (0, 0, 0, 0, 0)),
        ({"prompt_tokens": "11", "completion_tokens": True}, (0, 0, 0, 0, 0)),
        ("much", (0, 0, 0, 0, 0)),
    ],
)
def test_usage_is_what_the_answer_tells_under_either_name(usage, tokens):
    counts = results.tokens_of({"usage": usage}).counts()
    assert tokens == (
        counts.input_tokens,
        counts.input_tokens_details.cached_tokens,
        counts.output_tokens,
        counts.output_tokens_details.reasoning_tokens,
        counts.total_tokens,
    )


def test_what_a_flow_used_is_told_beside_its_result():
    used = Tokens(input=5, output=6)
    kept = results.answered("batch_1", "a", "r", {"usage": USAGE}, used)
    assert json.loads(kept.text)["response"]["usage"]["total_tokens"] == 11
    assert results.read_ended(kept.text) == ("a", used)
    assert kept.tokens == used


def test_failed_lines_are_read_again_too():
    for kept in (
        results.refused("batch_1", "a", CallFailed("Down.")),
        results.not_run("batch_1", "a", "batch_expired", "Too late."),
    ):
        assert results.read_ended(kept.text) == ("a", Tokens())


def test_a_line_left_for_later_keeps_its_tries_and_what_models_work_on():
    handle = CallHandle(
        deployment="d", name="n", state="begun", sent_at=datetime.now(UTC) - timedelta(hours=1)
    )
    so_far = results.Left(tries=3, handles={"key": handle})
    kept = results.left("a", so_far)
    assert kept.kind == "left"
    assert results.read_left(kept.text) == ("a", so_far)
