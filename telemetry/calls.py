"""Each request to a deployment as a span and as figures, by OpenTelemetry's GenAI conventions.

https://opentelemetry.io/docs/specs/semconv/gen-ai/: names as of version 1.37, whose status is
"development". Content is never recorded. Of a batch's lines only those that failed have a span: the
slice has one, and a hundred thousand more would tell nobody more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from decimal import Decimal

from opentelemetry.trace import Span

from contracts.calls import CallBegun, Task, UsageRecord
from telemetry import metrics
from telemetry.tracing import Kind, Value, begin, carried, fail

PROVIDERS = {
    "openai": "openai",
    "aml_online": "azure.ai.inference",
    "aml_batch": "azure.ai.inference",
}
"""Well-known values of gen_ai.provider.name by protocol; others are named by their protocol."""
OPERATIONS = {Task.CHAT: "chat", Task.EMBEDDINGS: "embeddings", Task.RESPONSES: "chat"}
"""Well-known values of gen_ai.operation.name; a scoring call has none of them."""
FINE = frozenset({"answered", "pending"})

type Cost = Callable[[UsageRecord], Decimal]
"""In the currency of the deployment's price."""

MOST_OPEN = 20_000
"""Spans of requests under way; of more, the oldest are given up."""


class Calls:
    """Begins a span before each request, ends it after. One for the whole process."""

    def __init__(self, *, traced: bool, cost: Cost | None = None) -> None:
        self._traced = traced
        self._cost = cost
        self._open: OrderedDict[str, Span] = OrderedDict()

    def begin(self, begun: CallBegun) -> Mapping[str, str]:
        """The headers by which the model's server joins the trace."""
        if not self._traced:
            return {}
        if begun.of_batch:
            return carried()
        made = begin(f"{_operation(begun)} {begun.model}", Kind.CALL, _asked(begun))
        self._open[begun.request_id] = made
        if len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)
        return carried(made)

    def ended(self, record: UsageRecord) -> None:
        """The request has ended as the record says."""
        self._count(record)
        attempt = record.attempt
        made = self._open.pop(attempt.request_id, None)
        if made is not None:
            _tell(made, record)
            made.end()
        elif self._traced and attempt.outcome not in FINE:
            started = int(attempt.started_at.timestamp() * 1e9)
            name = f"{_operation(record)} {attempt.model}"
            made = begin(name, Kind.CALL, _of(record), started)
            _tell(made, record)
            made.end(started + int(attempt.seconds * 1e9))

    def _count(self, record: UsageRecord) -> None:
        attempt = record.attempt
        common: dict[str, Value] = {
            "gen_ai.operation.name": _operation(record),
            "gen_ai.provider.name": _provider(record),
            "gen_ai.request.model": attempt.model,
            "sluice.deployment": attempt.deployment,
        }
        metrics.CALLS.add(1, {**common, "sluice.outcome": attempt.outcome})
        failed = {} if attempt.outcome == "answered" else {"error.type": attempt.outcome}
        metrics.CALL_DURATION.record(attempt.seconds, {**common, **failed})
        used = (("input", attempt.usage.input_tokens), ("output", attempt.usage.output_tokens))
        for kind, count in used:
            if count:
                metrics.TOKENS.record(count, {**common, "gen_ai.token.type": kind})
        if self._cost is not None and (cost := self._cost(record)):
            paid: dict[str, Value] = {
                "sluice.tenant": record.tenant,
                "gen_ai.request.model": attempt.model,
                "sluice.deployment": attempt.deployment,
            }
            metrics.COST.add(float(cost), paid)


def _operation(call: CallBegun | UsageRecord) -> str:
    return OPERATIONS.get(call.task, str(call.task))


def _provider(call: CallBegun | UsageRecord) -> str:
    return PROVIDERS.get(call.protocol, call.protocol)


def _asked(begun: CallBegun) -> dict[str, Value]:
    asked: dict[str, Value] = {
        "gen_ai.operation.name": _operation(begun),
        "gen_ai.provider.name": _provider(begun),
        "gen_ai.request.model": begun.model,
        "sluice.deployment": begun.deployment,
        "sluice.tenant": begun.tenant,
        "sluice.job_id": begun.job_id,
        "sluice.request_id": begun.request_id,
        "sluice.mirrored": begun.mirrored,
    }
    if begun.version is not None:
        asked["sluice.version"] = begun.version
    return asked


def _of(record: UsageRecord) -> dict[str, Value]:
    """The same, of a request that has ended."""
    attempt = record.attempt
    return _asked(
        CallBegun(
            tenant=record.tenant,
            job_id=record.job_id,
            model=attempt.model,
            task=record.task,
            deployment=attempt.deployment,
            protocol=record.protocol,
            version=attempt.version,
            started_at=attempt.started_at,
            request_id=attempt.request_id,
            request_bytes=record.request_bytes,
            mirrored=record.mirrored,
        )
    )


def _tell(made: Span, record: UsageRecord) -> None:
    attempt = record.attempt
    made.set_attribute("sluice.outcome", attempt.outcome)
    if attempt.status is not None:
        made.set_attribute("http.response.status_code", attempt.status)
    if attempt.usage.input_tokens or attempt.usage.output_tokens:
        made.set_attribute("gen_ai.usage.input_tokens", attempt.usage.input_tokens)
        made.set_attribute("gen_ai.usage.output_tokens", attempt.usage.output_tokens)
    if record.finish_reasons:
        made.set_attribute("gen_ai.response.finish_reasons", record.finish_reasons)
    if attempt.outcome not in FINE:
        fail(made, attempt.outcome)
