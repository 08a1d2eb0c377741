"""A database driver in memory, shaped as mssql-python is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

ROW = "sluice_row"


class Error(Exception):
    """As mssql_python.Error: two texts, and no number."""

    def __init__(self, driver_error: str, ddbc_error: str) -> None:
        super().__init__(f"Driver Error: {driver_error}; DDBC Error: {ddbc_error}")
        self.driver_error = driver_error
        self.ddbc_error = ddbc_error


class OperationalError(Error): ...


class ProgrammingError(Error): ...


class DataError(Error): ...


def server_says(text: str, own: str = "Syntax error or access violation") -> Error:
    """What the driver makes of an error message of the server's; most have this SQLSTATE."""
    return ProgrammingError(own, f"[Microsoft][SQL Server]{text}")


type Score = Callable[[list[dict[str, Any]]], Sequence[Sequence[Any]]]


def ages_doubled(rows: list[dict[str, Any]]) -> Sequence[Sequence[Any]]:
    """The last first: a database promises no order."""
    return [(row[ROW], row["age"] * 2) for row in reversed(rows)]


@dataclass
class FakeDriver:
    """`connect` and `execute` raise what they are told to; a gate holds statements back."""

    score: Score = ages_doubled
    names: tuple[str, ...] = (ROW, "score")
    connecting: Exception | None = None
    executing: Exception | None = None
    closing: Exception | None = None
    gate: Event | None = None
    connect_gate: Event | None = None
    connections: list[dict[str, Any]] = field(default_factory=list)
    executed: list[tuple[str, str]] = field(default_factory=list)
    timeouts: list[int] = field(default_factory=list)
    open: int = 0
    most_open: int = 0

    def load(self) -> FakeDriver:
        return self

    def connect(self, connection_str: str = "", **options: Any) -> FakeConnection:
        self.connections.append(options)
        if self.connect_gate is not None:
            self.connect_gate.wait(10)
        if self.connecting is not None:
            raise self.connecting
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        return FakeConnection(self)


@dataclass
class FakeConnection:
    driver: FakeDriver
    timeout: int = 0

    def cursor(self) -> FakeCursor:
        return FakeCursor(self)

    def close(self) -> None:
        self.driver.open -= 1
        if self.driver.closing is not None:
            raise self.driver.closing


@dataclass
class FakeCursor:
    connection: FakeConnection
    rows: Sequence[Sequence[Any]] = ()

    @property
    def description(self) -> list[tuple[Any, ...]]:
        return [(name, None, None, None, None, None, None) for name in self.connection.driver.names]

    def execute(self, operation: str, *parameters: str) -> FakeCursor:
        driver = self.connection.driver
        driver.executed.append((operation, parameters[0]))
        driver.timeouts.append(self.connection.timeout)
        if driver.gate is not None:
            driver.gate.wait(10)
        if driver.executing is not None:
            raise driver.executing
        self.rows = driver.score(json.loads(parameters[0]))
        return self

    def fetchall(self) -> Sequence[Sequence[Any]]:
        return self.rows
