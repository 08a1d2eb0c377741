"""What each status means: the table of docs/endpoints.md, row by row."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from endpoints.verdicts import DEFAULT_WAIT, error_code, judge, judge_silence
from endpoints.wire import Reply
from tests.unit.endpoints_fakes import LOST, NOON, REFUSED, model_error, reply


@pytest.mark.parametrize(
    ("answer", "outcome", "may_have_run"),
    [
        (reply(301), "unusable", False),
        (reply(307), "unusable", False),
        (reply(400), "rejected", False),
        (reply(401), "unusable", False),
        (reply(402), "unusable", False),
        (reply(403), "unusable", False),
        (reply(404), "unusable", False),
        (reply(405), "unusable", False),
        (reply(408), "unknown", True),
        (reply(409), "rejected", False),
        (reply(410), "unusable", False),
        (reply(413), "rejected", False),
        (reply(415), "rejected", False),
        (reply(422), "rejected", False),
        (reply(424), "failed", True),
        (reply(429), "throttled", False),
        (reply(500), "failed", True),
        (reply(502), "failed", True),
        (reply(503), "failed", True),
        (reply(504), "failed", True),
        (reply(529), "failed", True),
        (model_error(400), "rejected", False),
        (model_error(422), "rejected", False),
        (model_error(401), "unusable", True),
        (model_error(403), "unusable", True),
        (model_error(404), "unusable", True),
        (model_error(408), "unknown", True),
        (model_error(424), "failed", True),
        (model_error(429), "throttled", False),
        (model_error(302), "failed", True),
        (model_error(500), "failed", True),
        (model_error(502), "failed", True),
        (model_error(503), "failed", True),
        (model_error(504), "failed", True),
        (reply(424, ms_azureml_model_error_statuscode="rubbish"), "failed", True),
    ],
    ids=lambda value: repr(value)[:60] if isinstance(value, Reply) else None,
)
def test_statuses(answer: Reply, outcome: str, may_have_run: bool) -> None:
    verdict = judge(answer, NOON)
    assert (verdict.outcome, verdict.may_have_run) == (outcome, may_have_run)
    assert verdict.reason is not None
    assert str(answer.status) in verdict.reason


def test_silence() -> None:
    assert judge_silence(REFUSED).outcome == "not_connected"
    assert not judge_silence(REFUSED).may_have_run
    assert judge_silence(LOST).outcome == "unknown"
    assert judge_silence(LOST).may_have_run


@pytest.mark.parametrize("throttled", [reply, lambda _, **h: model_error(429, **h)])
def test_a_throttled_deployment_is_left_alone_as_long_as_it_asks(throttled: type) -> None:
    assert judge(throttled(429, retry_after="7"), NOON).wait == 7.0
    assert judge(throttled(429), NOON).wait == DEFAULT_WAIT


def test_a_failing_deployment_is_left_alone_only_when_it_asks() -> None:
    assert judge(reply(503, retry_after="7"), NOON).wait == 7.0
    assert judge(reply(503), NOON).wait is None


def test_a_spent_quota_is_not_a_wait() -> None:
    verdict = judge(reply(429, {"error": {"code": "insufficient_quota"}}), NOON)
    assert verdict.outcome == "unusable"


def test_only_the_endpoints_own_401_speaks_of_our_token() -> None:
    assert judge(reply(401), NOON).token_refused
    assert not judge(model_error(401), NOON).token_refused
    assert not judge(reply(403), NOON).token_refused


def test_reasons_name_statuses_and_codes() -> None:
    too_long = {"error": {"code": "context_length_exceeded", "param": "messages", "message": "…"}}
    verdict = judge(reply(400, too_long), NOON)
    assert (verdict.reason, verdict.param) == ("HTTP 400 (context_length_exceeded)", "messages")
    unwrapped = judge(model_error(500, ms_azureml_model_error_reason="model_error"), NOON)
    assert unwrapped.reason == "HTTP 424 (model_error), model 500"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (
            {"error": {"code": "a_code", "type": "a_type", "param": "input[0]"}},
            "a_code",
            "input[0]",
        ),
        ({"error": {"code": None, "type": "a_type"}}, "a_type", None),
        ({"error": {"code": 400, "type": "BadRequestError"}}, "BadRequestError", None),
        ({"error": {"message": "the prompt was: hello"}}, None, None),
        ({"error": "the prompt was: hello"}, None, None),
        ({"detail": "the prompt was: hello"}, None, None),
        ([1], None, None),
    ],
)
def test_error_codes(body: JsonValue, code: str | None, param: str | None) -> None:
    assert error_code(json.dumps(body).encode()) == (code, param)


@pytest.mark.parametrize("body", [None, b"", b"<html>", b"\xff", b"[" * 100_000])
def test_an_error_body_of_any_kind_is_survived(body: bytes | None) -> None:
    assert error_code(body) == (None, None)


prompts = st.text(min_size=1).map(lambda text: f"{text} and {text}")


@given(prompt=prompts, status=st.integers(min_value=300, max_value=599))
def test_no_text_of_an_error_leaves_the_verdict(prompt: str, status: int) -> None:
    error: JsonValue = {"message": prompt, "code": prompt, "type": prompt, "param": prompt}
    answer = reply(status, {"error": error, "detail": prompt, "message": prompt})
    verdict = judge(answer, NOON)
    assert verdict.reason == f"HTTP {status}"
    assert verdict.param is None
