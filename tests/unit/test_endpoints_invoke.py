"""Which deployments are asked, in which order, and how a call ends."""

from __future__ import annotations

import json
import logging
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from contracts.calls import ModelCall, Task, Usage
from contracts.errors import (
    CallFailed,
    CallRejected,
    DeadlineExceeded,
    EndpointUnusable,
    InvalidRequest,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    PayloadTooLarge,
    SluiceError,
)
from contracts.states import Execution
from endpoints import Endpoints
from endpoints.credentials import Token, TokenUnavailable
from endpoints.routing.standing import UNUSABLE_SECONDS
from endpoints.settings import Settings
from endpoints.verdicts import DEFAULT_WAIT
from endpoints.wire import NoReply, Reply
from tests.unit.endpoints_fakes import (
    CALL,
    LOST,
    NOON,
    REFUSED,
    ScriptedWire,
    at_least_once,
    at_most_once,
    endpoints,
    model_error,
    outcomes,
    reply,
)

ANSWER: JsonValue = {"label": "b", "usage": {"prompt_tokens": 9, "completion_tokens": 2}}


@pytest.fixture
def wire() -> ScriptedWire:
    return ScriptedWire()


async def ending(models: Endpoints, scope: object = None) -> SluiceError:
    with pytest.raises(SluiceError) as raised:
        await models.invoke(CALL, scope or at_least_once())  # type: ignore[arg-type]
    return raised.value


# The common case.


async def test_the_first_deployment_answers(wire: ScriptedWire) -> None:
    wire.plays(a=[reply(200, ANSWER)])
    wire.seconds = 0.5
    scope = at_least_once()
    answer = await endpoints(wire, "a", "b").invoke(CALL, scope)
    assert answer.body == ANSWER
    assert scope.attempts == [answer.attempt]
    attempt = answer.attempt
    assert (attempt.model, attempt.deployment, attempt.outcome) == ("m", "a", "answered")
    assert (attempt.status, attempt.started_at, attempt.reason) == (200, NOON, None)
    assert attempt.usage == Usage(input_tokens=9, output_tokens=2, requests=1)
    assert attempt.seconds >= 0
    headers = wire.sent[0].headers
    assert headers["x-ms-client-request-id"] == headers["x-request-id"] == attempt.request_id


async def test_each_request_has_an_id_of_its_own(wire: ScriptedWire) -> None:
    wire.plays(a=[reply(503)], b=[reply(200)])
    scope = at_least_once()
    await endpoints(wire, "a", "b").invoke(CALL, scope)
    assert len({attempt.request_id for attempt in scope.attempts}) == 2


async def test_a_key_goes_with_the_request_and_nowhere_else(wire: ScriptedWire) -> None:
    wire.plays(a=[reply(500)])
    scope = at_least_once()
    error = await ending(endpoints(wire, "a", auth={"key": "hunter2"}), scope)
    assert wire.sent[0].headers["authorization"] == "Bearer hunter2"
    assert "hunter2" not in error.detail + repr(scope.attempts)


# Every row of the status table, under both rules of execution, with another deployment at hand.

MOVES_ON, REJECTS, UNKNOWN = "answered by b", CallRejected, OutcomeUnknown


@pytest.mark.parametrize(
    ("first", "outcome", "least", "most"),
    [
        (REFUSED, "not_connected", MOVES_ON, MOVES_ON),
        (LOST, "unknown", MOVES_ON, UNKNOWN),
        (reply(302), "unusable", MOVES_ON, MOVES_ON),
        (reply(400), "rejected", REJECTS, REJECTS),
        (reply(401), "unusable", MOVES_ON, MOVES_ON),
        (reply(403), "unusable", MOVES_ON, MOVES_ON),
        (reply(404), "unusable", MOVES_ON, MOVES_ON),
        (reply(408), "unknown", MOVES_ON, UNKNOWN),
        (reply(413), "rejected", REJECTS, REJECTS),
        (reply(422), "rejected", REJECTS, REJECTS),
        (reply(424), "failed", MOVES_ON, UNKNOWN),
        (model_error(400), "rejected", REJECTS, REJECTS),
        (model_error(404), "unusable", MOVES_ON, UNKNOWN),
        (model_error(408), "unknown", MOVES_ON, UNKNOWN),
        (model_error(422), "rejected", REJECTS, REJECTS),
        (model_error(429), "throttled", MOVES_ON, MOVES_ON),
        (model_error(500), "failed", MOVES_ON, UNKNOWN),
        (model_error(503), "failed", MOVES_ON, UNKNOWN),
        (reply(429), "throttled", MOVES_ON, MOVES_ON),
        (reply(500), "failed", MOVES_ON, UNKNOWN),
        (reply(502), "failed", MOVES_ON, UNKNOWN),
        (reply(503), "failed", MOVES_ON, UNKNOWN),
        (reply(504), "failed", MOVES_ON, UNKNOWN),
        (Reply(200, {}, b"<html>"), "failed", MOVES_ON, UNKNOWN),
        (Reply(200, {}, None), "failed", MOVES_ON, UNKNOWN),
        (NoReply(sent=True, reason="cut off", status=200), "unknown", MOVES_ON, UNKNOWN),
    ],
    ids=lambda value: repr(value)[:60] if isinstance(value, Reply | NoReply) else None,
)
@pytest.mark.parametrize("execution", list(Execution))
async def test_status_table(
    wire: ScriptedWire,
    execution: Execution,
    first: Reply | NoReply,
    outcome: str,
    least: object,
    most: object,
) -> None:
    wire.plays(a=[first], b=[reply(200, ANSWER)])
    scope = at_most_once() if execution is Execution.AT_MOST_ONCE else at_least_once()
    expected = most if execution is Execution.AT_MOST_ONCE else least
    models = endpoints(wire, "a", "b")
    if expected is MOVES_ON:
        assert (await models.invoke(CALL, scope)).attempt.deployment == "b"
        assert outcomes(scope) == [("a", outcome), ("b", "answered")]
    else:
        assert type(await ending(models, scope)) is expected
        assert outcomes(scope) == [("a", outcome)]
        assert wire.asked == ["a"]
    assert scope.attempts[0].status == first.status
    assert scope.attempts[0].reason


# How a call ends that nobody answers.


@pytest.mark.parametrize(
    ("a", "b", "error"),
    [
        (reply(500), reply(503), CallFailed),
        (reply(500), REFUSED, CallFailed),
        (REFUSED, REFUSED, CallFailed),
        (reply(401), reply(500), CallFailed),
        (reply(401), REFUSED, CallFailed),
        (reply(401), reply(404), EndpointUnusable),
        (reply(429), reply(500), NoCapacity),
        (reply(500), reply(429), NoCapacity),
        (reply(401), reply(429), NoCapacity),
        (reply(408), reply(429), OutcomeUnknown),
        (reply(500), LOST, OutcomeUnknown),
        (LOST, reply(401), OutcomeUnknown),
        (reply(429), reply(400), CallRejected),
        (LOST, reply(400), CallRejected),
    ],
)
async def test_endings(
    wire: ScriptedWire, a: Reply | NoReply, b: Reply | NoReply, error: type[SluiceError]
) -> None:
    wire.plays(a=[a], b=[b])
    assert type(await ending(endpoints(wire, "a", "b"))) is error
    assert wire.asked == ["a", "b"]


async def test_an_ending_names_deployments_and_reasons_but_no_text(wire: ScriptedWire) -> None:
    leak: JsonValue = {"error": {"code": "boom", "message": CALL.payload}}
    wire.plays(a=[reply(500, leak)], b=[REFUSED])
    error = await ending(endpoints(wire, "a", "b"))
    assert error.detail == (
        "Every deployment of model m failed: a: HTTP 500 (boom); b: connection refused."
    )


async def test_a_rejection_says_which_part_of_the_request(wire: ScriptedWire) -> None:
    said: JsonValue = {
        "error": {"code": "context_length_exceeded", "param": "messages", "message": CALL.payload}
    }
    wire.plays(a=[reply(400, said)])
    error = await ending(endpoints(wire, "a"))
    assert error.detail == (
        "Model m refused the request: HTTP 400 (context_length_exceeded) at messages."
    )


# Throttling: move on at once, leave alone, say from when.


async def test_when_all_throttle_the_earliest_time_is_told(wire: ScriptedWire) -> None:
    wire.plays(a=[reply(429, retry_after="30")], b=[reply(429, retry_after_ms="4500")])
    error = await ending(endpoints(wire, "a", "b"))
    assert isinstance(error, NoCapacity)
    assert error.retry_at == NOON + timedelta(seconds=4.5)


async def test_a_throttling_deployment_is_not_asked_before_its_time(wire: ScriptedWire) -> None:
    models = endpoints(wire, "a")
    wire.plays(a=[reply(429, retry_after="30"), reply(200, ANSWER)])
    await ending(models)
    wire.clock.advance(29.9)
    scope = at_least_once()
    error = await ending(models, scope)
    assert isinstance(error, NoCapacity)
    assert error.retry_at == NOON + timedelta(seconds=30)
    assert scope.attempts == []
    assert wire.asked == ["a"]
    wire.clock.advance(0.1)
    assert (await models.invoke(CALL, scope)).body == ANSWER


async def test_others_serve_while_one_cools(wire: ScriptedWire) -> None:
    models = endpoints(wire, "a", "b")
    wire.plays(a=[reply(429)], b=[reply(200), reply(200), reply(500)])
    for _ in range(2):
        await models.invoke(CALL, at_least_once())
    assert wire.asked == ["a", "b", "b"]
    # The one that cools says when, even if the one that was asked does not.
    error = await ending(models)
    assert isinstance(error, NoCapacity)
    assert error.retry_at == NOON + timedelta(seconds=DEFAULT_WAIT)


async def test_a_503_that_says_when_is_left_alone_until_then(wire: ScriptedWire) -> None:
    models = endpoints(wire, "a")
    wire.plays(a=[reply(503, retry_after="5")])
    assert isinstance(await ending(models), CallFailed)
    assert isinstance(await ending(models), NoCapacity)
    assert wire.asked == ["a"]


# Unusable endpoints: told once, passed over for a while, never forgotten.


async def test_an_unusable_endpoint_is_told_once_and_passed_over(
    wire: ScriptedWire, caplog: pytest.LogCaptureFixture
) -> None:
    models = endpoints(wire, "a", "b")
    wire.plays(a=[reply(401), reply(401), reply(200)], b=[reply(200)] * 3)
    with caplog.at_level(logging.INFO, "sluice.endpoints"):
        await models.invoke(CALL, at_least_once())
        await models.invoke(CALL, at_least_once())
        assert wire.asked == ["a", "b", "b"]
        wire.clock.advance(UNUSABLE_SECONDS)
        await models.invoke(CALL, at_least_once())
        assert wire.asked == ["a", "b", "b", "a", "b"]
        wire.clock.advance(UNUSABLE_SECONDS)
        assert (await models.invoke(CALL, at_least_once())).attempt.deployment == "a"
    assert [
        (record.levelname, record.getMessage().split(" (")[0]) for record in caplog.records
    ] == [
        ("ERROR", "Deployment a of model m is unusable"),
        ("INFO", "Deployment a of model m answers again"),
    ]


async def test_an_unusable_endpoint_is_not_asked_for_want_of_a_better_one(
    wire: ScriptedWire,
) -> None:
    models = endpoints(wire, "a", "b")
    wire.plays(a=[reply(401)], b=[reply(200), reply(500), reply(429)])
    await models.invoke(CALL, at_least_once())
    assert isinstance(await ending(models), CallFailed)
    assert isinstance(await ending(models), NoCapacity)
    assert isinstance(await ending(models), NoCapacity)  # b cools, and a is no reason to hurry
    assert wire.asked == ["a", "b", "b", "b"]


async def test_an_unusable_endpoint_without_an_alternative_is_asked_each_time(
    wire: ScriptedWire,
) -> None:
    models = endpoints(wire, "a")
    wire.plays(a=[reply(404), reply(404), reply(200, ANSWER)])
    assert isinstance(await ending(models), EndpointUnusable)
    assert isinstance(await ending(models), EndpointUnusable)
    assert (await models.invoke(CALL, at_least_once())).body == ANSWER


# Tokens.


class Tokens:
    """Hands out these tokens, then none."""

    def __init__(self, *values: str) -> None:
        self.values = list(values)

    async def fetch(self, scope: str) -> Token:
        if not self.values:
            raise TokenUnavailable("down")
        # Issued long ago, as far as the cache's own clock tells: a refusal is worth a renewal.
        return Token(self.values.pop(0), 4e9)


IDENTITY = {"managed_identity": "https://ml.azure.com/.default"}


@pytest.fixture
def old_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("endpoints.credentials.RENEW_AT_MOST_EVERY", 0.0)


@pytest.mark.usefixtures("old_tokens")
async def test_a_refused_token_is_renewed_once_and_the_call_repeated(wire: ScriptedWire) -> None:
    wire.plays(a=[reply(401), reply(200, ANSWER)])
    scope = at_most_once()
    models = endpoints(wire, "a", auth=IDENTITY, fetch_token=Tokens("old", "new").fetch)
    assert (await models.invoke(CALL, scope)).body == ANSWER
    assert [sent.headers["authorization"] for sent in wire.sent] == ["Bearer old", "Bearer new"]
    assert outcomes(scope) == [("a", "unusable"), ("a", "answered")]


@pytest.mark.usefixtures("old_tokens")
async def test_a_renewed_token_that_is_refused_too_ends_there(wire: ScriptedWire) -> None:
    wire.plays(a=[reply(401), reply(401)])
    models = endpoints(wire, "a", auth=IDENTITY, fetch_token=Tokens("old", "new").fetch)
    assert isinstance(await ending(models), EndpointUnusable)
    assert len(wire.sent) == 2


async def test_a_key_that_is_refused_is_not_tried_again(wire: ScriptedWire) -> None:
    wire.plays(a=[reply(401)])
    assert isinstance(await ending(endpoints(wire, "a", auth={"key": "k"})), EndpointUnusable)


async def test_without_a_token_nothing_is_sent_and_a_later_try_may_fare_better(
    wire: ScriptedWire,
) -> None:
    scope = at_most_once()
    models = endpoints(wire, "a", "b", auth=IDENTITY, fetch_token=Tokens().fetch)
    assert isinstance(await ending(models, scope), CallFailed)
    assert wire.sent == []
    assert outcomes(scope) == [("a", "failed"), ("b", "failed")]


async def test_deployments_of_one_scope_share_its_token(wire: ScriptedWire) -> None:
    wire.plays(a=[reply(500)], b=[reply(200)])
    models = endpoints(wire, "a", "b", auth=IDENTITY, fetch_token=Tokens("only").fetch)
    await models.invoke(CALL, at_least_once())
    assert [sent.headers["authorization"] for sent in wire.sent] == ["Bearer only"] * 2


# Deadlines.


async def test_no_attempt_outlasts_the_deadline(wire: ScriptedWire) -> None:
    wire.plays(a=[reply(500)], b=[reply(200)])
    wire.seconds = 4
    scope = at_least_once(NOON + timedelta(seconds=30))
    await endpoints(wire, "a", "b", timeout_seconds=28).invoke(CALL, scope)
    assert [sent.limits.seconds for sent in wire.sent] == [28, 26]


async def test_after_the_deadline_nobody_is_asked(wire: ScriptedWire) -> None:
    error = await ending(endpoints(wire, "a"), at_least_once(NOON))
    assert isinstance(error, DeadlineExceeded)
    assert wire.sent == []


async def test_a_deadline_that_passes_on_the_way_ends_the_call(wire: ScriptedWire) -> None:
    wire.plays(a=[LOST])
    wire.seconds = 10
    scope = at_least_once(NOON + timedelta(seconds=10))
    assert isinstance(await ending(endpoints(wire, "a", "b"), scope), DeadlineExceeded)
    assert outcomes(scope) == [("a", "unknown")]


async def test_at_most_once_tells_the_unknown_even_past_the_deadline(wire: ScriptedWire) -> None:
    wire.plays(a=[LOST])
    wire.seconds = 10
    scope = at_most_once(NOON + timedelta(seconds=10))
    assert isinstance(await ending(endpoints(wire, "a"), scope), OutcomeUnknown)


# What cannot be asked at all.


async def test_an_unknown_model_is_told_with_the_known_ones(wire: ScriptedWire) -> None:
    with pytest.raises(NotFound, match="No model 'other'; there are m"):
        await endpoints(wire, "a").invoke(ModelCall("other", Task.SCORE, {}), at_least_once())


async def test_a_task_that_no_deployment_does(wire: ScriptedWire) -> None:
    settings = Settings.model_validate(
        {"models": {"m": {"deployments": [
            {"name": "a", "protocol": "openai", "url": "http://a/v1", "model": "x"}
        ]}}}
    )  # fmt: skip
    models = Endpoints(settings, wire=wire)
    with pytest.raises(InvalidRequest, match="does not do score; it does chat, embeddings"):
        await models.invoke(CALL, at_least_once())


async def test_a_task_goes_to_the_deployments_that_do_it(wire: ScriptedWire) -> None:
    settings = Settings.model_validate(
        {"models": {"m": {"deployments": [
            {"name": "a", "protocol": "openai", "url": "http://a/v1", "model": "x"},
            {"name": "b", "protocol": "aml_online", "url": "http://b/score"},
        ]}}}
    )  # fmt: skip
    wire.plays(b=[reply(200, ANSWER)])
    models = Endpoints(settings, wire=wire)
    assert (await models.invoke(CALL, at_least_once())).attempt.deployment == "b"


async def test_a_request_goes_to_the_deployments_that_take_its_size(wire: ScriptedWire) -> None:
    size = len(json.dumps(CALL.payload, separators=(",", ":")))
    small = {"name": "a", "protocol": "aml_online", "url": "http://a/score", "max_request_bytes": 5}
    fits = {**small, "name": "b", "url": "http://b/score", "max_request_bytes": size}
    wire.plays(b=[reply(200, ANSWER)])
    both = Settings.model_validate({"models": {"m": {"deployments": [small, fits]}}})
    answer = await Endpoints(both, wire=wire).invoke(CALL, at_least_once())
    assert answer.attempt.deployment == "b"
    one = Settings.model_validate({"models": {"m": {"deployments": [small]}}})
    with pytest.raises(PayloadTooLarge, match=f"is {size} bytes; deployment a takes 5"):
        await Endpoints(one, wire=wire).invoke(CALL, at_least_once())


async def test_closing_closes_the_wire(wire: ScriptedWire) -> None:
    await endpoints(wire, "a").aclose()
    assert wire.closed


# Laws, whatever the deployments say.

replies = st.sampled_from(
    [REFUSED, LOST, reply(200), reply(400), reply(401), reply(404), reply(408), reply(429),
     reply(500), reply(503), model_error(400), model_error(429), model_error(500)]
)  # fmt: skip
MAY_HAVE_RUN = {"unknown", "failed"}


@given(said=st.lists(replies, min_size=1, max_size=5), execution=st.sampled_from(Execution))
async def test_laws(said: list[Reply | NoReply], execution: Execution) -> None:
    names = [f"d{index}" for index in range(len(said))]
    wire = ScriptedWire()
    wire.plays(**{name: [each] for name, each in zip(names, said, strict=True)})
    scope = at_least_once()
    scope.execution = execution
    try:
        await endpoints(wire, *names).invoke(CALL, scope)
        error = None
    except SluiceError as raised:
        error = raised
    found = [attempt.outcome for attempt in scope.attempts]
    # Each request is on record, in declared order, and no deployment is asked twice.
    assert wire.asked == names[: len(found)]
    # An answer ends the call, and only the last attempt can be one.
    assert ("answered" in found) == (error is None)
    assert "answered" not in found[:-1]
    # After a model may have run, at-most-once asks nobody else.
    if execution is Execution.AT_MOST_ONCE:
        assert not MAY_HAVE_RUN & set(found[:-1])
    # Nobody is left unasked without a reason.
    elif len(found) < len(names):
        assert found[-1] in {"answered", "rejected"}
    if isinstance(error, NoCapacity):
        assert error.retry_at > NOON
