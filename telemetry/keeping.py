"""Which spans are exported: a share of all traces, and every span that failed."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import (
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import StatusCode
from opentelemetry.util.types import Attributes


class Recording(Sampler):
    """Samples as another does, but records what that one drops: whether a span fails is known at
    its end only."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._inner = ParentBased(TraceIdRatioBased(share))

    def should_sample(  # noqa: PLR0913, PLR0917 - OpenTelemetry's
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        said = self._inner.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )
        if said.decision is not Decision.DROP:
            return said
        return SamplingResult(Decision.RECORD_ONLY, said.attributes, said.trace_state)

    def get_description(self) -> str:
        return f"Recording({self._share})"


class KeepFailures(SpanProcessor):
    """Hands on the spans that were sampled, and those that failed, to be exported together."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._batches = BatchSpanProcessor(exporter)

    def on_end(self, span: ReadableSpan) -> None:
        context = span.context
        if context is None:
            return
        if not context.trace_flags.sampled:
            if span.status.status_code is not StatusCode.ERROR:
                return
            span = _as_sampled(span, context)
        self._batches.on_end(span)

    def shutdown(self) -> None:
        self._batches.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._batches.force_flush(timeout_millis)


def _as_sampled(span: ReadableSpan, context: SpanContext) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=SpanContext(
            context.trace_id,
            context.span_id,
            context.is_remote,
            TraceFlags(context.trace_flags | TraceFlags.SAMPLED),
            context.trace_state,
        ),
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


class Several(SpanExporter):
    """Exports to each of several places."""

    def __init__(self, exporters: Sequence[SpanExporter]) -> None:
        self._exporters = exporters

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        results = [exporter.export(spans) for exporter in self._exporters]
        failed = SpanExportResult.FAILURE in results
        return SpanExportResult.FAILURE if failed else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        for exporter in self._exporters:
            exporter.shutdown()
