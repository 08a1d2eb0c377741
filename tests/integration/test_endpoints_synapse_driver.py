"""The real driver, against a server that speaks just enough of its protocol.

Where mssql-python is not installed this is skipped: `pip install -r requirements-synapse.txt`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
from yarl import URL

from endpoints.sql.wire import Database, SqlWire
from endpoints.wire import Limits, NoReply, Reply, Request
from tests.integration.tds_server import TdsServer, scores, tds_server

STATEMENT = "SELECT * FROM OPENJSON(CAST(? AS nvarchar(max)))"
TWO_ROWS = json.dumps([{"sluice_row": 0, "age": 1}, {"sluice_row": 1, "age": 2}])


@pytest.fixture(scope="module")
def driver() -> SimpleNamespace:
    """The driver, on its provider that needs no system library, and without TLS."""
    reason = "mssql-python is not installed: requirements-synapse.txt"
    mssql_python = pytest.importorskip("mssql_python", reason=reason)
    mssql_python.native_provider = "mssql-odbc"
    mssql_python.pooling(enabled=False)

    def connect(**options: object) -> object:
        assert options["Encrypt"] == "yes"
        return mssql_python.connect(**{**options, "Encrypt": "no"})

    return SimpleNamespace(connect=connect)


@pytest.fixture
async def server(driver: SimpleNamespace) -> AsyncIterator[TdsServer]:
    async with tds_server() as running:
        yield running


async def send(
    server: TdsServer, driver: SimpleNamespace, seconds: float = 120, **login: str
) -> Reply | NoReply:
    database = Database(f"127.0.0.1,{server.port}", "scoring", STATEMENT, **login)
    wire = SqlWire(database, 1, lambda: driver)
    request = Request(URL("mssql://127.0.0.1/scoring"), {}, TWO_ROWS.encode())
    try:
        limits = Limits(seconds, connect_seconds=60, answer_bytes=1000)
        return await wire.send(request, {"authorization": "Bearer a.b.c"}, limits)
    finally:
        await wire.aclose()


@pytest.mark.parametrize("login", [{}, {"user": "scorer", "password": "p;}w{"}])
async def test_rows_go_as_a_parameter_and_come_back_in_order(server, driver, login):
    server.statement = scores(0.25, 0.75)
    answer = await send(server, driver, **login)
    assert isinstance(answer, Reply)
    assert json.loads(answer.body or b"") == {"rows": [{"score": 0.25}, {"score": 0.75}]}
    [call] = server.calls
    assert TWO_ROWS.encode() in call
    assert "OPENJSON(CAST(@P1 AS".encode("utf-16-le") in call


@pytest.mark.parametrize(
    ("number", "text", "status"),
    [
        (10928, "Resource ID : 1. The request limit for the database is 90 and has been", 429),
        (1205, "Transaction was deadlocked and has been chosen as the deadlock victim.", 503),
        (245, "Conversion failed when converting the nvarchar value 'secret' to int.", 400),
        (102, "Incorrect syntax near 'x'.", 400),
        (208, "Invalid object name 'dbo.Models'.", 404),
    ],
)
async def test_what_the_server_says_of_a_statement(server, driver, number, text, status):
    server.statement = (number, text)
    answer = await send(server, driver)
    assert isinstance(answer, Reply)
    assert (answer.status, json.loads(answer.body or b"")) == (
        status,
        {"error": {"code": f"SQL_{number}"}},
    )


@pytest.mark.parametrize(
    ("number", "text", "status"),
    [
        (18456, "Login failed for user '<token-identified principal>'.", 401),
        (40613, "Database 'scoring' on server 'ws' is not currently available.", 503),
        (42108, "Can not connect to the SQL pool since it is paused.", 429),
    ],
)
async def test_what_the_server_says_of_a_login(server, driver, number, text, status):
    server.login = (number, text)
    answer = await send(server, driver)
    assert isinstance(answer, Reply)
    assert (answer.status, f"SQL_{number}" in str(answer.body)) == (status, True)


async def test_a_server_that_keeps_silent_may_have_run_the_statement(server, driver):
    assert await send(server, driver, seconds=5) == NoReply(
        sent=True, reason="timed out waiting for the answer"
    )


async def test_a_connection_that_breaks_may_have_run_the_statement(server, driver):
    server.hang_up = True
    assert await send(server, driver) == NoReply(
        sent=True, reason="connection lost after the statement was sent"
    )


async def test_a_server_that_is_not_there_has_been_sent_nothing(driver):
    nobody = TdsServer(port=1)
    assert await send(nobody, driver) == NoReply(sent=False, reason="connection failed")
