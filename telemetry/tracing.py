"""One trace from the door to the model and the reply: spans, and the context that joins them.

What crosses a queue or a durable input is W3C trace context (https://www.w3.org/TR/trace-context/):
`traceparent`, and `tracestate` where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

NAME = "sluice"

type Value = str | bool | int | float
type Attributes = Mapping[str, Value]

_w3c = TraceContextTextMapPropagator()
_tracer = trace.get_tracer(NAME)


class Kind(Enum):
    """What a span stands for (OpenTelemetry's SpanKind)."""

    DOOR = SpanKind.SERVER
    MESSAGE = SpanKind.CONSUMER
    STEP = SpanKind.INTERNAL
    CALL = SpanKind.CLIENT
    REPLY = SpanKind.PRODUCER


@contextmanager
def span(
    name: str,
    kind: Kind,
    attributes: Attributes | None = None,
    *,
    parent: Mapping[str, str] | None = None,
) -> Iterator[Span]:
    """The work within, as part of the trace that `parent` carries, else of the current one.

    An exception marks the span as failed with its type alone: its text may quote a prompt.
    """
    with _tracer.start_as_current_span(
        name,
        context=None if parent is None else context_of(parent),
        kind=kind.value,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as begun:
        try:
            yield begun
        except BaseException as error:
            fail(begun, type(error).__name__)
            raise


def begin(name: str, kind: Kind, attributes: Attributes, started: int | None = None) -> Span:
    """A span whose end its owner tells, as part of the current trace. `started`: nanoseconds of
    the epoch; None: now."""
    return _tracer.start_span(name, kind=kind.value, attributes=attributes, start_time=started)


def fail(failed: Span, why: str) -> None:
    """Mark a span as failed. `why`: a code or a type, never a message."""
    failed.set_attribute("error.type", why)
    failed.set_status(Status(StatusCode.ERROR, why))


def tell_status(answered: Span, status: int) -> None:
    """How a door answered. What is the caller's fault is no failure of the door's."""
    answered.set_attribute("http.response.status_code", status)
    if status >= 500:
        fail(answered, str(status))


def carried(by: Span | None = None) -> dict[str, str]:
    """The context to hand on: of a span, else of the current one; empty when there is none."""
    headers: dict[str, str] = {}
    _w3c.inject(headers, None if by is None else trace.set_span_in_context(by))
    return headers


def context_of(headers: Mapping[str, str]) -> Context:
    """What was handed on. What is not W3C trace context begins a trace of its own."""
    return _w3c.extract(headers, Context())


def trace_id() -> str | None:
    """Of the current trace, 32 hexadecimal digits; None outside of any."""
    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None
