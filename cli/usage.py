"""`sluice usage`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from cli.service import get, listing, read, say, show
from contracts.usage import UsageReport


def usage(
    ctx: typer.Context,
    since: Annotated[
        str | None, typer.Option("--from", help="The first day (UTC); else that of the month.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", help="The first day that is left out.")
    ] = None,
    by: Annotated[
        str, typer.Option(help="tenant, model, deployment, version, flow, day: with commas.")
    ] = "model",
    csv: Annotated[bool, typer.Option("--csv", help="As CSV, with FOCUS columns.")] = False,
) -> None:
    """Who used what, and what it cost."""
    query: dict[str, object] = {"from": since, "to": until, "group_by": by}
    if csv:
        say(get(ctx, "/v1/usage", query | {"format": "csv"}))
        return
    text = get(ctx, "/v1/usage", query)
    show(ctx, text, lambda: _table(read(UsageReport, text)))


def _table(report: UsageReport) -> Table:
    groups = [str(each) for each in report.group_by]
    figures = ["requests", "input tokens", "output tokens", "seconds", "cost", "currency"]
    rows: list[list[object]] = [
        [
            "idle" if each.idle and not index else getattr(each, group)
            for index, group in enumerate(groups)
        ]
        + [f"{each.requests:,}", f"{each.input_tokens:,}", f"{each.output_tokens:,}"]
        + [f"{each.seconds:,.1f}", each.cost, each.currency]
        for each in report.data
    ]
    return listing([*groups, *figures], rows, numbers=len(figures))
