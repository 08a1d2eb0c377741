"""Rows go to a database and come back; what goes wrong on the way has one meaning each."""

from __future__ import annotations

import asyncio
import json
import struct
from datetime import date, datetime
from decimal import Decimal
from threading import Event

import pytest
from yarl import URL

from endpoints.sql.driver import ACCESS_TOKEN
from endpoints.sql.wire import Database, SqlWire
from endpoints.verdicts import judge
from endpoints.wire import Limits, NoReply, Reply, Request
from tests.unit.endpoints_fakes import NOON
from tests.unit.sql_fakes import (
    ROW,
    DataError,
    FakeDriver,
    OperationalError,
    ProgrammingError,
    server_says,
)

STATEMENT = "WITH d AS (…) SELECT …"
LIMITS = Limits(seconds=60, connect_seconds=5, answer_bytes=10_000)
BEARER = {"authorization": "Bearer tök"}


def database(**fields: str) -> Database:
    return Database(server="ws.example,1433", name="scoring", statement=STATEMENT, **fields)


def rows(*ages: int) -> Request:
    numbered = [{ROW: number, "age": age} for number, age in enumerate(ages)]
    return Request(URL("mssql://ws.example/scoring"), {}, json.dumps(numbered).encode())


async def send(
    driver: FakeDriver, request: Request | None = None, limits: Limits = LIMITS, **login: str
) -> Reply | NoReply:
    wire = SqlWire(database(**login), 2, driver.load)
    try:
        return await wire.send(request or rows(1, 2), {} if login else BEARER, limits)
    finally:
        await wire.aclose()


async def test_rows_come_back_in_the_order_in_which_they_went():
    driver = FakeDriver()
    answer = await send(driver, rows(5, 6, 7))
    assert isinstance(answer, Reply)
    assert answer.status == 200
    assert json.loads(answer.body or b"") == {"rows": [{"score": 10}, {"score": 12}, {"score": 14}]}
    [(statement, parameter)] = driver.executed
    assert statement == STATEMENT
    assert [row["age"] for row in json.loads(parameter)] == [5, 6, 7]
    assert driver.open == 0


async def test_a_token_logs_in_as_the_driver_wants_it():
    driver = FakeDriver()
    await send(driver)
    [options] = driver.connections
    token = options.pop("attrs_before")[ACCESS_TOKEN]
    assert token == struct.pack("<I", 6) + "tök".encode("utf-16-le")
    assert options == {
        "autocommit": True,
        "timeout": 5,
        "Server": "tcp:ws.example,1433",
        "Database": "scoring",
        "Encrypt": "yes",
        "ConnectRetryCount": "0",
    }


async def test_a_user_logs_in_with_a_password():
    driver = FakeDriver()
    await send(driver, user="scorer", password="s;ecret")
    [options] = driver.connections
    assert options["attrs_before"] is None
    assert (options["UID"], options["PWD"]) == ("scorer", "s;ecret")
    assert "s;ecret" not in repr(database(user="scorer", password="s;ecret"))


async def test_the_driver_is_held_to_the_time_that_is_left():
    driver = FakeDriver()
    await send(driver, limits=Limits(seconds=2.5, connect_seconds=60, answer_bytes=10_000))
    assert driver.connections[0]["timeout"] == 3
    assert driver.timeouts in ([2], [3])


async def test_values_that_json_lacks_are_written_as_it_can():
    driver = FakeDriver(
        names=(ROW, "a", "b", "c", "d"),
        score=lambda rows: [(0, Decimal("1.5"), date(2026, 1, 2), datetime(2026, 1, 2, 3), None)],
    )
    answer = await send(driver, rows(1))
    assert isinstance(answer, Reply)
    [row] = json.loads(answer.body or b"")["rows"]
    assert row == {"a": 1.5, "b": "2026-01-02", "c": "2026-01-02T03:00:00", "d": None}


@pytest.mark.parametrize(
    "scores", [[], [(0, 1)], [(0, 1), (0, 2)], [(0, 1), (2, 1)], [(0, 1), (1, 1), (2, 1)]]
)
async def test_an_answer_of_other_rows_than_were_sent_is_none(scores):
    answer = await send(FakeDriver(score=lambda rows: scores), rows(1, 2))
    assert isinstance(answer, Reply)
    assert (answer.status, answer.body) == (502, b'{"error": {"code": "SQL_rows_missing"}}')


async def test_no_rows_are_no_rows():
    answer = await send(FakeDriver(), rows())
    assert isinstance(answer, Reply)
    assert json.loads(answer.body or b"") == {"rows": []}


async def test_too_large_an_answer_is_not_kept():
    answer = await send(FakeDriver(), rows(1, 2), Limits(60, 5, answer_bytes=10))
    assert answer == Reply(200, {}, None)


async def test_a_connection_that_does_not_close_well_costs_no_answer():
    answer = await send(FakeDriver(closing=OperationalError("General error", "gone")))
    assert isinstance(answer, Reply)
    assert answer.status == 200


# Threads and time.


async def test_no_more_connections_are_open_than_there_may_be():
    driver = FakeDriver(gate=Event())
    wire = SqlWire(database(), 2, driver.load)
    sends = [asyncio.create_task(wire.send(rows(n), BEARER, LIMITS)) for n in range(5)]
    while len(driver.executed) < 2:
        await asyncio.sleep(0.001)
    assert driver.open == 2
    assert driver.gate is not None
    driver.gate.set()
    assert {answer.status for answer in await asyncio.gather(*sends)} == {200}
    assert driver.most_open <= 2
    await wire.aclose()


async def test_who_gets_no_connection_in_time_has_sent_nothing():
    driver = FakeDriver(gate=Event())
    wire = SqlWire(database(), 1, driver.load)
    first = asyncio.create_task(wire.send(rows(1), BEARER, LIMITS))
    while not driver.executed:
        await asyncio.sleep(0.001)
    waited = await wire.send(rows(2), BEARER, Limits(0.01, 5, 100))
    assert waited == NoReply(sent=False, reason="no connection came free in time")
    assert driver.gate is not None
    driver.gate.set()
    assert (await first).status == 200
    await wire.aclose()
    assert len(driver.executed) == 1


async def test_a_statement_that_outlasts_its_time_may_have_run():
    driver = FakeDriver(gate=Event())
    wire = SqlWire(database(), 100, driver.load)
    sent = False
    while not sent:  # a busy machine may not get to it in time
        answer = await wire.send(rows(1), BEARER, Limits(0.2, 5, 100))
        assert isinstance(answer, NoReply)
        sent = answer.sent
    assert driver.gate is not None
    driver.gate.set()
    await wire.aclose()
    assert answer == NoReply(sent=True, reason="timed out waiting for the answer")


async def test_what_is_given_up_while_it_connects_is_never_sent():
    driver = FakeDriver(connect_gate=Event())
    wire = SqlWire(database(), 1, driver.load)
    answer = late = NoReply(sent=False, reason="no connection came free in time")
    while answer == late:  # a busy machine may not have begun to connect
        answer = await wire.send(rows(1), BEARER, Limits(0.05, 5, 100))
    assert answer == NoReply(sent=False, reason="timed out connecting")
    assert driver.connect_gate is not None
    driver.connect_gate.set()
    assert (await wire.send(rows(2), BEARER, LIMITS)).status == 200
    await wire.aclose()
    assert [json.loads(parameter)[0]["age"] for _, parameter in driver.executed] == [2]


# What a driver's error means. The texts are those that mssql-python 1.16 gave for a server that
# spoke TDS and answered with these numbers.

THROTTLED = [
    (10928, "Resource ID : 1. The request limit for the database is 90 and has been reached."),
    (
        10929,
        "Resource ID: 1. The session minimum guarantee is 0, maximum limit is 90 and the current"
        " usage for the database is 91. However, the server is currently too busy to support"
        " requests greater than 90 for this database.",
    ),
    (40501, "The service is currently busy. Retry the request after 10 seconds."),
    (49918, "Cannot process request. Not enough resources to process request."),
    (
        49919,
        "Cannot process create or update request. Too many create or update operations in"
        ' progress for subscription "s".',
    ),
    (
        49920,
        "Cannot process request. Too many operations in progress for subscription.",
    ),
]
ASLEEP = [
    (
        42108,
        "Can not connect to the SQL pool since it is paused. Please resume the SQL pool and try"
        " again.",
    ),
    (42109, "The SQL pool is warming up. Please try again."),
]
UNUSABLE = [
    (18456, "Login failed for user '<token-identified principal>'."),
    (4060, 'Cannot open database "scoring" requested by the login.'),
    (
        40615,
        "Cannot open server 'ws' requested by the login. Client with IP address '10.0.0.1' is not"
        " allowed to access the server.",
    ),
    (229, "The SELECT permission was denied on the object 'Models', database 'scoring'."),
    (208, "Invalid object name 'dbo.Models'."),
    (207, "Invalid column name 'Model'."),
]
FAILED = [
    (40613, "Database 'scoring' on server 'ws' is not currently available.  Please retry."),
    (40197, "The service has encountered an error processing your request. Please try again."),
    (
        1205,
        "Transaction (Process ID 52) was deadlocked on lock resources with another process and has"
        " been chosen as the deadlock victim. Rerun the transaction.",
    ),
]
REJECTED = [
    (102, "Incorrect syntax near 'x'."),
    (245, "Conversion failed when converting the nvarchar value 'a secret' to data type int."),
    (8114, "Error converting data type nvarchar to float."),
    (13609, "JSON text is not properly formatted. Unexpected character 'x' is found."),
]
KNOWN = [
    (*case, outcome, wait)
    for outcome, wait, cases in [
        ("throttled", 10.0, THROTTLED),
        ("throttled", 60.0, ASLEEP),
        ("unusable", None, UNUSABLE),
        ("failed", None, FAILED),
        ("rejected", None, REJECTED),
    ]
    for case in cases
]


@pytest.mark.parametrize(
    ("number", "text", "outcome", "wait"), KNOWN, ids=[str(case[0]) for case in KNOWN]
)
@pytest.mark.parametrize("when", ["connecting", "executing"])
async def test_what_the_server_says(number, text, outcome, wait, when):
    answer = await send(FakeDriver(**{when: server_says(text)}))
    assert isinstance(answer, Reply)
    verdict = judge(answer, NOON)
    assert (verdict.outcome, verdict.wait) == (outcome, wait)
    assert f"SQL_{number}" in str(verdict.reason)
    assert "secret" not in str(answer)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (server_says("Something new."), 503, "SQL_error"),
        (DataError("Numeric", "[Microsoft][SQL Server]Something new."), 400, "SQL_error"),
        (
            server_says("Anmeldung fehlgeschlagen.", "Invalid authorization specification"),
            401,
            "SQL_login",
        ),
    ],
)
async def test_what_the_server_says_that_is_unknown_here(error, status, code):
    answer = await send(FakeDriver(executing=error))
    assert isinstance(answer, Reply)
    assert answer.status == status
    assert json.loads(answer.body or b"") == {"error": {"code": code}}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OperationalError("Timeout expired", "[Microsoft]Query timeout expired"), "timed out"),
        (OperationalError("Timeout expired", "[Microsoft]Timeout Error: deadline"), "timed out"),
        (
            OperationalError("Communication link failure", "[Microsoft]TCP Provider: Error"),
            "connection",
        ),
        (OperationalError("General error", "[Microsoft]Connection closed"), "connection"),
        (ProgrammingError("Whatever", ""), "connection"),
        (RuntimeError("the driver's own bug"), "connection"),
    ],
)
@pytest.mark.parametrize("when", ["connecting", "executing"])
async def test_what_the_driver_says_by_itself(error, reason, when):
    answer = await send(FakeDriver(**{when: error}))
    assert isinstance(answer, NoReply)
    assert answer.sent == (when == "executing")
    assert answer.reason.startswith(reason)


async def test_a_driver_that_is_not_installed_makes_the_deployment_unusable(caplog):
    def load() -> FakeDriver:
        raise ImportError("mssql_python")

    wire = SqlWire(database(), 1, load)
    answer = await wire.send(rows(1), BEARER, LIMITS)
    assert isinstance(answer, Reply)
    assert judge(answer, NOON).outcome == "unusable"
    assert "requirements-synapse.txt" in caplog.text
    await wire.aclose()


async def test_a_driver_without_its_system_libraries_makes_the_deployment_unusable():
    missing = OperationalError("Connection operation failed", "Failed to load the driver. Please")
    answer = await send(FakeDriver(connecting=missing))
    assert isinstance(answer, Reply)
    verdict = judge(answer, NOON)
    assert verdict.outcome == "unusable"
    assert "driver_lacks_a_system_library" in str(verdict.reason)
