"""Traces: joined over queues, kept when they fail, and silent about what people wrote."""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace.status import StatusCode

from contracts.calls import (
    Attempt,
    CallBegun,
    ModelAnswer,
    ModelCall,
    Task,
    Usage,
    UsageRecord,
)
from contracts.errors import NoCapacity
from contracts.flows import FlowRun
from flows.traced import Traced
from telemetry import setup
from telemetry.calls import Calls
from telemetry.logs import WithIds
from telemetry.tracing import Kind, carried, context_of, span, trace_id
from tests.unit.endpoints_fakes import NOON
from tests.unit.telemetry_fakes import measured, traced

PARENT = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


def begun(request_id: str = "r-1") -> CallBegun:
    return CallBegun(
        tenant="acme",
        job_id="job_1",
        model="chat",
        task=Task.CHAT,
        deployment="blue",
        protocol="openai",
        version="2",
        started_at=NOON,
        request_id=request_id,
        request_bytes=100,
        mirrored=False,
    )


def record(outcome: str = "answered", request_id: str = "r-1") -> UsageRecord:
    attempt = Attempt(
        model="chat",
        deployment="blue",
        version="2",
        outcome=outcome,
        status=200 if outcome == "answered" else 503,
        started_at=NOON,
        seconds=0.25,
        request_id=request_id,
        usage=Usage(input_tokens=7, output_tokens=5, requests=1),
    )
    return UsageRecord(
        tenant="acme",
        job_id="job_1",
        attempt=attempt,
        number=1,
        task=Task.CHAT,
        protocol="openai",
        request_bytes=100,
        response_bytes=200,
        finish_reasons=("stop",),
    )


def test_a_trace_goes_on_where_its_context_is_carried(monkeypatch):
    seen = traced(monkeypatch)
    with span("door", Kind.DOOR, parent=PARENT):
        handed_on = carried()
    with span("step", Kind.STEP, parent=handed_on):
        assert trace_id() == PARENT["traceparent"].split("-")[1]
    door, step = seen.named("door"), seen.named("step")
    assert step.parent.span_id == door.context.span_id
    assert format(door.parent.span_id, "016x") == PARENT["traceparent"].split("-")[2]


def test_an_error_is_told_by_its_type_and_never_by_its_text(monkeypatch):
    seen = traced(monkeypatch)
    with pytest.raises(ValueError, match="prompt"), span("step", Kind.STEP):
        raise ValueError("a confidential prompt")
    step = seen.named("step")
    assert step.status.status_code is StatusCode.ERROR
    assert step.attributes["error.type"] == "ValueError"
    assert "confidential" not in step.to_json()


def test_of_traces_that_are_not_sampled_the_failures_are_kept(monkeypatch):
    seen = traced(monkeypatch, share=0.0)
    with span("fine", Kind.STEP):
        pass
    with pytest.raises(RuntimeError), span("broken", Kind.STEP):
        raise RuntimeError
    assert [each.name for each in seen.spans] == ["broken"]


@given(headers=st.dictionaries(st.text(max_size=12), st.text(max_size=70), max_size=3))
def test_what_is_no_trace_context_begins_a_trace_of_its_own(headers):
    assert not context_of({**headers, "traceparent": "00-nonsense"})


def test_a_call_is_a_span_by_the_conventions_and_hands_its_context_to_the_model(monkeypatch):
    seen, calls = traced(monkeypatch), Calls(traced=True)
    with span("step", Kind.STEP, parent=PARENT):
        headers = calls.begin(begun())
        calls.ended(record())
    call = seen.named("chat chat")
    assert headers["traceparent"].split("-")[1:3] == [
        format(call.context.trace_id, "032x"),
        format(call.context.span_id, "016x"),
    ]
    assert call.parent.span_id == seen.named("step").context.span_id
    assert dict(call.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "chat",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.response.finish_reasons": ("stop",),
        "http.response.status_code": 200,
        "sluice.deployment": "blue",
        "sluice.version": "2",
        "sluice.tenant": "acme",
        "sluice.job_id": "job_1",
        "sluice.request_id": "r-1",
        "sluice.mirrored": False,
        "sluice.outcome": "answered",
    }


def test_a_call_that_fails_is_a_span_that_failed(monkeypatch):
    seen, calls = traced(monkeypatch, share=0.0), Calls(traced=True)
    calls.begin(begun("r-1"))
    calls.begin(begun("r-2"))
    calls.ended(record("failed", "r-1"))
    calls.ended(record("answered", "r-2"))
    [failed] = seen.spans
    assert failed.attributes["error.type"] == "failed"
    assert failed.attributes["http.response.status_code"] == 503


def test_of_a_batchs_lines_only_those_that_failed_are_spans_and_all_join_the_trace(monkeypatch):
    seen, calls = traced(monkeypatch), Calls(traced=True)
    with span("run slice", Kind.STEP, parent=PARENT):
        slice_context = carried()
        for request_id, outcome in (("r-1", "answered"), ("r-2", "failed")):
            assert calls.begin(replace(begun(request_id), of_batch=True)) == slice_context
            calls.ended(record(outcome, request_id))
    call = seen.named("chat chat")
    assert call.attributes["sluice.request_id"] == "r-2"
    assert call.parent.span_id == seen.named("run slice").context.span_id
    assert call.end_time - call.start_time == 250_000_000


def test_each_call_is_counted_with_its_seconds_and_tokens(monkeypatch):
    figures = measured(monkeypatch, "CALLS", "CALL_DURATION", "TOKENS")
    calls = Calls(traced=False)
    for outcome in ("answered", "answered", "throttled"):
        assert calls.begin(begun()) == {}
        calls.ended(record(outcome))
    by_outcome = {
        attributes["sluice.outcome"]: value
        for attributes, value, _ in figures.points("sluice.model.calls")
    }
    assert by_outcome == {"answered": 2, "throttled": 1}
    durations = figures.points("gen_ai.client.operation.duration")
    assert sorted((total, count) for _, total, count in durations) == [(0.25, 1), (0.5, 2)]
    tokens = {
        attributes["gen_ai.token.type"]: total
        for attributes, total, _ in figures.points("gen_ai.client.token.usage")
    }
    assert tokens == {"input": 21, "output": 15}


def test_what_is_logged_has_the_ids_of_the_span_around_it(monkeypatch):
    traced(monkeypatch)
    written: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = written.append
    handler.addFilter(WithIds())
    log, books = logging.getLogger("sluice.test"), logging.getLogger("sluice.usage")
    root = logging.getLogger("sluice")
    monkeypatch.setattr(root, "handlers", [handler])
    with (
        span("run job", Kind.STEP, {"sluice.job_id": "job_1", "sluice.tenant": "acme"}),
        span("flow f", Kind.STEP, {"sluice.flow": "f"}),
    ):
        log.warning("within")
        books.warning("[]")
    log.warning("outside")
    within, outside = written
    assert within.__dict__["sluice.job_id"] == "job_1"
    assert within.__dict__["sluice.tenant"] == "acme"
    assert "sluice.job_id" not in outside.__dict__


async def test_a_model_call_is_part_of_its_flow_wherever_the_flow_makes_it(monkeypatch):
    seen, calls = traced(monkeypatch), Calls(traced=True)

    async def invoke(call: ModelCall) -> ModelAnswer:
        calls.begin(begun())
        calls.ended(record())
        return ModelAnswer({}, record().attempt)

    class InAThread:
        info = SimpleNamespace(name="threaded")

        async def run(self, input: object, run: FlowRun) -> None:
            call = ModelCall("chat", Task.CHAT, {})
            await asyncio.to_thread(lambda: Context().run(asyncio.run, run.invoke(call)))

    await Traced(InAThread()).run({}, FlowRun(invoke))
    assert seen.named("chat chat").parent.span_id == seen.named("flow threaded").context.span_id


async def test_a_flow_that_waits_for_capacity_has_not_failed(monkeypatch):
    seen = traced(monkeypatch)

    class Waits:
        info = SimpleNamespace(name="waits")

        async def run(self, input: object, run: FlowRun) -> None:
            raise NoCapacity("Later.", NOON)

    with pytest.raises(NoCapacity):
        await Traced(Waits()).run({}, FlowRun(None))
    assert seen.named("flow waits").status.status_code is not StatusCode.ERROR


def test_nothing_is_exported_unless_a_place_is_named():
    assert setup.begin({}) is False


@pytest.mark.parametrize("share", ["2", "-0.1", "some", "nan"])
def test_a_share_that_is_none_is_told(share):
    with pytest.raises(setup.WrongSetting, match="from 0 to 1"):
        setup.begin({setup.SHARE: share})
