"""The app's own log, exported beside its traces: each record with the ids of what it belongs to.

A record carries trace and span id, and as attributes the job, batch and tenant of the span that it
was written in.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from telemetry.tracing import current_ids

if TYPE_CHECKING:
    from opentelemetry.sdk._logs.export import LogExporter
    from opentelemetry.sdk.resources import Resource

OURS = "sluice"
BOOKS = "sluice.usage"
"""Which the ledger has, each call a line."""


class WithIds(logging.Filter):
    """Adds the ids to a record, and lets it pass unless it is of the books."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.__dict__.update(current_ids())
        return record.name != BOOKS


def export(exporters: Sequence[LogExporter], resource: Resource) -> None:
    """From now on, once a process."""
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    provider = LoggerProvider(resource=resource)
    for exporter in exporters:
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    handler = LoggingHandler(logging.INFO, provider)
    handler.addFilter(WithIds())
    logging.getLogger(OURS).addHandler(handler)
