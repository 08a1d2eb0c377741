"""Model calls in traces and metrics, where the settings name a place to export them to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from contracts.calls import Meter, UsageRecord
from contracts.errors import Misconfigured
from endpoints.context import Context
from endpoints.invoke import Endpoints
from ledger.prices import Prices
from telemetry import setup
from telemetry.calls import Calls
from telemetry.gauges import observe


def watched(context: Context, environ: Mapping[str, str], prices: Prices) -> Context:
    """The context with its calls joined to traces, counted and priced; as it is where nothing is
    exported. Raises Misconfigured."""
    try:
        if not setup.begin(environ):
            return context
    except setup.WrongSetting as error:
        raise Misconfigured(str(error)) from error
    calls = Calls(traced=True, cost=prices.cost)
    return replace(context, joins=calls.begin, meter=both(context.meter, calls.ended))


def watch_deployments(endpoints: Endpoints, environ: Mapping[str, str]) -> None:
    """Show how deployments stand, where anything is exported."""
    if setup.begin(environ):
        observe(endpoints.statuses)


def both(first: Meter, second: Meter) -> Meter:
    """One that tells two."""

    def meter(record: UsageRecord) -> None:
        first(record)
        second(record)

    return meter
