"""Sends rows to a SQL database, and brings rows back, as JSON.

The driver blocks, so each request runs in a thread: as many at once as there may be connections,
and whoever waits longer than it may for a free one has sent nothing. A request that is given up
keeps its thread until the driver's own timeout, which is no later than the request's, ends it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from threading import Lock

from pydantic import JsonValue

from endpoints.sql import failures
from endpoints.sql.driver import Connection, Driver, access_token, load
from endpoints.wire import Limits, NoReply, Reply, Request

logger = logging.getLogger("sluice.endpoints")

ROW = "sluice_row"
"""The column that numbers the rows, from 0: a result has no order of its own."""


@dataclass(frozen=True, slots=True)
class Database:
    """Where statements run, and the one that does."""

    server: str
    """HOST,PORT"""
    name: str
    statement: str
    """With one parameter, the rows as JSON; its result has the column ROW."""
    user: str | None = None
    """Without one, each request brings an Entra token."""
    password: str = field(default="", repr=False)


class _Progress:
    """How far a thread is with a request, and whether anybody still waits for it."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._lock = Lock()
        self._given_up = False
        self.sent = False

    def seconds(self, most: float = math.inf) -> int:
        """What is left, in whole seconds: the driver counts in those, and takes 0 for no limit."""
        return max(1, math.ceil(min(most, self._until - time.monotonic())))

    def begin(self) -> bool:
        """Called before the statement is sent; False when it must not be any more."""
        with self._lock:
            self.sent = not self._given_up
            return self.sent

    def give_up(self) -> bool:
        """Whether the statement has been sent. If not, it never will be."""
        with self._lock:
            self._given_up = True
            return self.sent


class SqlWire:
    """One deployment's connections, behind endpoints.wire.Wire.

    The driver keeps connections open for the next request, apart for each token.
    """

    def __init__(
        self, database: Database, connections: int, load: Callable[[], Driver] = load
    ) -> None:
        self._database = database
        self._load = load
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="sluice-sql")

    async def send(
        self, request: Request, headers: Mapping[str, str], limits: Limits
    ) -> Reply | NoReply:
        """Run the statement once, with the request's body as its rows."""
        token = headers.get("authorization", "").removeprefix("Bearer ")
        progress = _Progress(limits.seconds)
        running = self._threads.submit(self._run, request.body, token, limits, progress)
        try:
            async with asyncio.timeout(limits.seconds):
                return await asyncio.wrap_future(running)
        except TimeoutError:
            if progress.give_up():
                return NoReply(sent=True, reason="timed out waiting for the answer")
            waited = running.cancel()
            reason = "no connection came free in time" if waited else "timed out connecting"
            return NoReply(sent=False, reason=reason)

    async def open(
        self, request: Request, headers: Mapping[str, str], limits: Limits
    ) -> Reply | NoReply:
        """As `send`: rows come all at once."""
        return await self.send(request, headers, limits)

    async def aclose(self) -> None:
        """Begin nothing more; what runs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, rows: bytes, token: str, limits: Limits, progress: _Progress) -> Reply | NoReply:
        try:
            connection = self._connect(token, limits, progress)
            try:
                return self._query(connection, rows, limits, progress)
            finally:
                with suppress(Exception):  # the answer, or the error, is what counts
                    connection.close()
        except ImportError:
            logger.error("A synapse deployment needs: pip install -r requirements-synapse.txt")
            return failures.reply(403, "mssql-python_is_not_installed")
        except Exception as error:  # noqa: BLE001 - whatever a driver raises ends this request alone
            return failures.of(error, sent=progress.sent)

    def _connect(self, token: str, limits: Limits, progress: _Progress) -> Connection:
        database = self._database
        login = {"UID": database.user, "PWD": database.password} if database.user else {}
        return self._load().connect(
            autocommit=True,
            attrs_before=None if login else access_token(token),
            timeout=progress.seconds(limits.connect_seconds),
            Server=f"tcp:{database.server}",
            Database=database.name,
            Encrypt="yes",
            ConnectRetryCount="0",
            **login,
        )

    def _query(
        self, connection: Connection, rows: bytes, limits: Limits, progress: _Progress
    ) -> Reply | NoReply:
        connection.timeout = progress.seconds()
        cursor = connection.cursor()
        if not progress.begin():
            return NoReply(sent=False, reason="given up before it was sent")
        cursor.execute(self._database.statement, rows.decode())
        names = [str(column[0]) for column in cursor.description or ()]
        answers = _in_order(names, cursor.fetchall(), count=len(json.loads(rows)))
        if answers is None:
            return failures.reply(502, "SQL_rows_missing")
        body = json.dumps({"rows": answers}, default=_json_value).encode()
        return Reply(200, {}, body if len(body) <= limits.answer_bytes else None)


def _in_order(
    names: Sequence[str], rows: Sequence[Sequence[object]], *, count: int
) -> list[dict[str, object]] | None:
    """The rows by their numbers, without them; None unless there is one for each that was sent."""
    numbered = {}
    for row in rows:
        values = dict(zip(names, row, strict=True))
        numbered[values.pop(ROW, None)] = values
    if len(rows) != count or numbered.keys() != set(range(count)):
        return None
    return [numbered[number] for number in range(count)]


def _json_value(value: object) -> JsonValue:
    """Of what a column may hold and JSON lacks."""
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, date) else str(value)
