"""Each request to a deployment as a span and as figures, by OpenTelemetry's GenAI conventions.

https://opentelemetry.io/docs/specs/semconv/gen-ai/: names as of version 1.37, whose status is
"development". Content is never recorded.
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
        made = begin(f"{_operation(begun)} {begun.model}", Kind.CALL, _asked(begun))
        self._open[begun.request_id] = made
        if len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)
        return carried(made)

    def ended(self, record: UsageRecord) -> None:
        """The request has ended as the record says."""
        _count(record)
        if self._cost is not None and (cost := self._cost(record)):
            paid: dict[str, Value] = {
                "sluice.tenant": record.tenant,
                "gen_ai.request.model": record.attempt.model,
                "sluice.deployment": record.attempt.deployment,
            }
            metrics.COST.add(float(cost), paid)
        made = self._open.pop(record.attempt.request_id, None)
        if made is None:
            return
        attempt = record.attempt
        made.set_attribute("sluice.outcome", attempt.outcome)
        if attempt.status is not None:
            made.set_attribute("http.response.status_code", attempt.status)
        if attempt.usage.input_tokens or attempt.usage.output_tokens:
            made.set_attribute("gen_ai.usage.input_tokens", attempt.usage.input_tokens)
            made.set_attribute("gen_ai.usage.output_tokens", attempt.usage.output_tokens)
        if record.finish_reasons:
            made.set_attribute("gen_ai.response.finish_reasons", record.finish_reasons)
        if attempt.outcome not in ("answered", "pending"):
            fail(made, attempt.outcome)
        made.end()


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


def _count(record: UsageRecord) -> None:
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
    for kind, count in (
        ("input", attempt.usage.input_tokens),
        ("output", attempt.usage.output_tokens),
    ):
        if count:
            metrics.TOKENS.record(count, {**common, "gen_ai.token.type": kind})
