"""`sluice deployments`."""

from __future__ import annotations

import json
from typing import Annotated
from urllib.parse import quote

import typer

from cli.service import call, get, listing, read, show, time
from contracts.deployments import DeploymentList

app = typer.Typer(help="Where models are served, and how they do.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Of the deployment.")]


@app.command("list")
def list_deployments(ctx: typer.Context) -> None:
    """Every deployment: its state, load and latency."""
    text = get(ctx, "/v1/deployments")
    columns = ["model", "deployment", "state", "until", "why"]
    columns += ["weight", "in flight", "limit", "waiting", "p50 s", "p95 s"]
    rows: list[list[object]] = [
        [
            each.model,
            each.name,
            each.state,
            time(each.until),
            each.last_reason,
            f"{each.weight:g}",
            each.in_flight,
            each.limit,
            each.waiting,
            f"{each.latency.p50:.3g}",
            f"{each.latency.p95:.3g}",
        ]
        for each in read(DeploymentList, text).deployments
    ]
    show(ctx, text, lambda: listing(columns, rows, numbers=6))


@app.command("show")
def show_deployment(ctx: typer.Context, name: Name) -> None:
    """A deployment, what was set for it, and the workers that use it."""
    text = get(ctx, _path(name))
    show(ctx, text, lambda: _pretty(text))


@app.command()
def weight(
    ctx: typer.Context,
    name: Name,
    share: Annotated[float, typer.Argument(metavar="WEIGHT", min=0, help="0: it gets none.")],
) -> None:
    """Set a deployment's weight, at every worker."""
    text = call(ctx, "PATCH", _path(name), {"weight": share})
    show(ctx, text, lambda: f"{name} weighs {share:g}")


def _pretty(text: str) -> str:
    return json.dumps(json.loads(text), indent=2, ensure_ascii=False)


def _path(name: str) -> str:
    return f"/v1/deployments/{quote(name, safe='')}"
