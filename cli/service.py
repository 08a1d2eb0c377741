"""What every command does alike: ask the service, show its answer, and end with a status.

0: done. 1: the service refuses, cannot be reached, or what was waited for ended badly. 2: the
command is not one.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import NoReturn
from urllib.parse import urlencode

import aiohttp
import typer
from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from devhost.service import ServiceFailed, ask, session_of

PIPED_WIDTH = 240
"""Of a table that no terminal shows: ids are not to be cut."""
_HINT = "Give a key or a token by --key or in SLUICE_KEY; ./dev keys makes keys."

type Work[T] = Callable[[aiohttp.ClientSession], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class Service:
    """Which service is meant, and how its answers are shown."""

    url: str | None
    key: str | None
    as_json: bool


def service_of(ctx: typer.Context) -> Service:
    """What the options before the command say."""
    service: Service = ctx.obj
    return service


def run[T](ctx: typer.Context, work: Work[T]) -> T:
    """Do the work with the service. Ends the command with 1 when the service fails it."""
    service = service_of(ctx)

    async def go() -> T:
        async with session_of(argparse.Namespace(url=service.url, key=service.key)) as session:
            return await work(session)

    try:
        return asyncio.run(go())
    except ServiceFailed as error:
        fail(f"{error}\n{_HINT}" if error.status == HTTPStatus.UNAUTHORIZED else str(error))
    except KeyboardInterrupt:
        fail("Interrupted. What was begun goes on.")


def get(ctx: typer.Context, path: str, query: Mapping[str, object] | None = None) -> str:
    """The text of one answer."""
    return call(ctx, "GET", path_of(path, query))


def call(
    ctx: typer.Context,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> str:
    """As `get`."""

    async def once(session: aiohttp.ClientSession) -> str:
        return await ask(session, method, path, body, headers)

    return run(ctx, once)


def path_of(path: str, query: Mapping[str, object] | None) -> str:
    """With the parts of the query that are given."""
    given = {name: str(value) for name, value in (query or {}).items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def read[M: BaseModel](model: type[M], text: str) -> M:
    """An answer as this model."""
    return model.model_validate_json(text)


def show(ctx: typer.Context, text: str, table: Callable[[], Table | str]) -> None:
    """The answer as it is, with --json; else for people."""
    if service_of(ctx).as_json:
        say(text)
        return
    shown = table()
    if isinstance(shown, str):
        say(shown)
    else:
        out().print(shown)


def facts(rows: Mapping[str, object]) -> Table:
    """Names and values, one a line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        if value is not None:
            table.add_row(name, escape(str(value)))
    return table


def listing(columns: list[str], rows: list[list[object]], *, numbers: int = 0) -> Table:
    """A table; the last `numbers` columns are figures."""
    table = Table(box=None, pad_edge=False)
    for index, column in enumerate(columns):
        figures = index >= len(columns) - numbers
        table.add_column(column, justify="right" if figures else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else escape(str(value)) for value in row))
    return table


def time(at: datetime | int | None) -> str | None:
    """In UTC, to the second."""
    if at is None:
        return None
    when = datetime.fromtimestamp(at, UTC) if isinstance(at, int) else at.astimezone(UTC)
    return when.strftime("%Y-%m-%d %H:%M:%S")


def out() -> Console:
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)


def say(text: str) -> None:
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    with suppress(OSError):
        sys.stdout.flush()


def tell(text: str) -> None:
    """To people alone: not part of what the command answers."""
    sys.stderr.write(text + "\n")


def fail(why: str) -> NoReturn:
    tell(why)
    raise typer.Exit(1)
