"""One trace from the door to the model and the reply: spans, and the context that joins them.

What crosses a queue or a durable input is W3C trace context (https://www.w3.org/TR/trace-context/):
`traceparent`, and `tracestate` where there is one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

NAME = "sluice"

type Value = str | bool | int | float
type Attributes = Mapping[str, Value]

IDS = frozenset({"sluice.job_id", "sluice.batch_id", "sluice.tenant"})
_NO_IDS: Mapping[str, Value] = {}
_ids: ContextVar[Mapping[str, Value]] = ContextVar("sluice-ids", default=_NO_IDS)

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
    fine: tuple[type[BaseException], ...] = (),
) -> Iterator[Span]:
    """The work within, as part of the trace that `parent` carries, else of the current one.

    An exception marks the span as failed, unless it is one of `fine`, with its type alone: its text
    may quote a prompt. What is logged within carries the ids among the attributes.
    """
    ids = {name: value for name, value in (attributes or {}).items() if name in IDS}
    token = _ids.set({**_ids.get(), **ids}) if ids else None
    try:
        with _begun(name, kind, attributes, parent=parent, fine=fine) as begun:
            yield begun
    finally:
        if token is not None:
            _ids.reset(token)


@contextmanager
def _begun(
    name: str,
    kind: Kind,
    attributes: Attributes | None,
    *,
    parent: Mapping[str, str] | None,
    fine: tuple[type[BaseException], ...],
) -> Iterator[Span]:
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
            if not isinstance(error, fine):
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


def joined[**P, R](work: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """The same work, as part of what is the current span now, wherever it is called from."""
    here = get_current()

    async def do(*args: P.args, **kwargs: P.kwargs) -> R:
        token = attach(here)
        try:
            return await work(*args, **kwargs)
        finally:
            detach(token)

    return do


def current_ids() -> Mapping[str, Value]:
    """Of the job, the batch and the tenant that the current span is for, as far as it says."""
    return _ids.get()


def trace_id() -> str | None:
    """Of the current trace, 32 hexadecimal digits; None outside of any."""
    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None
