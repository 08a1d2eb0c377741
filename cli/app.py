"""The commands, and the options of each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from cli import batches, deployments, jobs, queues, usage
from cli.service import Service

app = typer.Typer(
    name="sluice",
    help="Jobs, batches, queues, usage and deployments of one service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(jobs.app, name="jobs")
app.add_typer(batches.app, name="batches")
app.add_typer(queues.app, name="queues")
app.add_typer(deployments.app, name="deployments")
app.command("usage")(usage.usage)

_WITH_VALUE = ("--url", "--key")
_ALONE = ("--json",)


@app.callback()
def options(
    ctx: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(envvar="SLUICE_URL", help="Of the service; else that of ./dev start."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            envvar="SLUICE_KEY",
            help="An API key or token, or the platform's key; else that of ./dev start.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Show what the service answered, as it is.")
    ] = False,
) -> None:
    """They may stand anywhere on the line."""
    ctx.obj = Service(url, key, as_json)


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    try:
        app(to_front(arguments), prog_name="sluice")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def to_front(arguments: Sequence[str]) -> list[str]:
    """With the options of every command before the command, where they are looked for."""
    front: list[str] = []
    rest: list[str] = []
    left = list(arguments)
    while left:
        word = left.pop(0)
        if word == "--":
            rest += [word, *left]
            break
        if word in _ALONE or word.startswith(tuple(f"{name}=" for name in _WITH_VALUE)):
            front.append(word)
        elif word in _WITH_VALUE and left:
            front += [word, left.pop(0)]
        else:
            rest.append(word)
    return front + rest
