"""What is exported, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from telemetry import metrics, tracing
from telemetry.keeping import KeepFailures, Recording


@dataclass
class Exported(SpanExporter):
    spans: list[ReadableSpan] = field(default_factory=list)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


@dataclass
class Seen:
    """Of the spans that have ended."""

    exporter: Exported
    provider: TracerProvider

    @property
    def spans(self) -> list[ReadableSpan]:
        self.provider.force_flush()
        return self.exporter.spans

    def named(self, name: str) -> ReadableSpan:
        [found] = [span for span in self.spans if span.name == name]
        return found


def traced(monkeypatch: pytest.MonkeyPatch, share: float = 1.0) -> Seen:
    """From now on, within the test, spans are exported to memory."""
    exporter = Exported()
    provider = TracerProvider(sampler=Recording(share))
    provider.add_span_processor(KeepFailures(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("test"))
    return Seen(exporter, provider)


@dataclass
class Figures:
    reader: InMemoryMetricReader

    def points(self, name: str) -> list[tuple[dict[str, object], float, int]]:
        """Attributes, sum or value, and count of each point of a metric."""
        found = []
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == name:
                        found += metric.data.data_points
        return [
            (
                dict(point.attributes or {}),
                point.sum if hasattr(point, "sum") else point.value,
                getattr(point, "count", 1),
            )
            for point in found
        ]


def measured(monkeypatch: pytest.MonkeyPatch, *instruments: str) -> Figures:
    """From now on, within the test, these instruments of `telemetry.metrics` count afresh."""
    reader = InMemoryMetricReader()
    meter = MeterProvider(metric_readers=[reader]).get_meter("test")
    for name in instruments:
        known = getattr(metrics, name)
        make = meter.create_counter if "Counter" in type(known).__name__ else meter.create_histogram
        monkeypatch.setattr(metrics, name, make(known._name, known._unit or ""))
    return Figures(reader)
