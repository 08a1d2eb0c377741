"""Where traces, metrics and logs go: to what the settings name, and nowhere otherwise.

- APPLICATIONINSIGHTS_CONNECTION_STRING: Azure Monitor.
- OTEL_EXPORTER_OTLP_ENDPOINT: any OTLP collector, by HTTP (OpenTelemetry's own setting, as are
  OTEL_EXPORTER_OTLP_HEADERS, OTEL_METRIC_EXPORT_INTERVAL and OTEL_SERVICE_NAME).
- OTEL_TRACES_SAMPLER_ARG: the share of traces that is exported, 0 to 1; failures always are.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk._logs.export import LogExporter
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter

MONITOR = "APPLICATIONINSIGHTS_CONNECTION_STRING"
OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"
SHARE = "OTEL_TRACES_SAMPLER_ARG"

_log = logging.getLogger("sluice.telemetry")
_begun = False


class WrongSetting(ValueError):
    """A setting is not as expected; the text says which, and what was."""


def begin(environ: Mapping[str, str]) -> bool:
    """Export from now on, once a process. Returns whether anything is exported.

    Raises WrongSetting. Imports the SDK only where something is exported.
    """
    global _begun  # noqa: PLW0603 - OpenTelemetry's providers are the process's own too
    share = _share(environ)
    if not _begun and (environ.get(MONITOR) or environ.get(OTLP)):
        _export(_exporters(environ), share, environ)
        _begun = True
    return _begun


def _share(environ: Mapping[str, str]) -> float:
    text = environ.get(SHARE) or "1"
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise WrongSetting(f"App setting {SHARE} is {text!r}; expected a number from 0 to 1.")
    return share


@dataclass(frozen=True, slots=True)
class _Exporters:
    spans: list[SpanExporter]
    metrics: list[MetricExporter]
    logs: list[LogExporter]


def _exporters(environ: Mapping[str, str]) -> _Exporters:
    found = _Exporters([], [], [])
    if environ.get(OTLP):
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        found.spans.append(OTLPSpanExporter())
        found.metrics.append(OTLPMetricExporter())
        found.logs.append(OTLPLogExporter())
    if connection := environ.get(MONITOR):
        from azure.monitor.opentelemetry.exporter import (
            AzureMonitorLogExporter,
            AzureMonitorMetricExporter,
            AzureMonitorTraceExporter,
        )

        found.spans.append(AzureMonitorTraceExporter(connection_string=connection))
        found.metrics.append(AzureMonitorMetricExporter(connection_string=connection))
        found.logs.append(AzureMonitorLogExporter(connection_string=connection))
    return found


def _export(exporters: _Exporters, share: float, environ: Mapping[str, str]) -> None:
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    from telemetry import logs
    from telemetry.keeping import KeepFailures, Recording, Several

    name = environ.get("OTEL_SERVICE_NAME") or environ.get("WEBSITE_SITE_NAME") or "sluice"
    resource = Resource.create({"service.name": name})
    tracing = TracerProvider(sampler=Recording(share), resource=resource)
    tracing.add_span_processor(KeepFailures(Several(exporters.spans)))
    trace.set_tracer_provider(tracing)
    readers = [PeriodicExportingMetricReader(exporter) for exporter in exporters.metrics]
    metrics.set_meter_provider(MeterProvider(metric_readers=readers, resource=resource))
    logs.export(exporters.logs, resource)
    _log.info("traces, metrics and logs are exported (%d places)", len(exporters.spans))
