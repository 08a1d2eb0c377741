"""Azure Synapse dedicated SQL pools: T-SQL's PREDICT runs an ONNX model beside the data.

The statement is made once, of the settings alone; a payload becomes its one parameter, rows as
JSON. Identifiers and types are held to a plain shape, and quoted all the same. The payload of SCORE
is {"rows": [{"age": 40}, …]} or {"columns": {"age": [40, …]}}, and the answer {"rows":
[{"score": 0.9}, …]}, one for each row and in their order.

What PREDICT takes: learn.microsoft.com, "PREDICT (Transact-SQL)" and "Score machine learning models
with PREDICT". A payload's rows come in by a common table expression, as those pages have it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, SecretStr, StringConstraints, model_validator
from yarl import URL

from contracts.calls import JsonObject, ModelCall, Task, Usage
from endpoints import json_body, verdicts
from endpoints.protocols.common_settings import DeploymentSettings, expected
from endpoints.protocols.json_http import JsonOverHttp, invalid
from endpoints.sql.wire import ROW, Database, SqlWire
from endpoints.verdicts import Verdict
from endpoints.wire import Reply, Request

PORT = 1433

_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,127}"
_TYPE = (
    r"(?i:bit|tinyint|smallint|int|bigint|real|float|date|datetime2"
    r"|(?:decimal|numeric)\(\d{1,2}(?:, ?\d{1,2})?\)|n?(?:var)?char\((?:\d{1,4}|max)\))"
)

type _Identifier = Annotated[str, StringConstraints(pattern=rf"^{_NAME}$")]
type _Table = Annotated[str, StringConstraints(pattern=rf"^{_NAME}(\.{_NAME})?$")]
type _ModelId = int | Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_ .:/-]{1,200}$")]
type _Type = Annotated[str, StringConstraints(pattern=rf"^{_TYPE}$")]


def _database_url(text: str) -> str:
    url = URL(text)
    plain = not (url.user or url.password or url.query_string or url.fragment)
    one_name = re.fullmatch(r"/[A-Za-z0-9_-]{1,128}", url.path)
    if url.scheme != "mssql" or not url.host or not plain or not one_name:
        raise expected("mssql://SERVER/DATABASE, or mssql://SERVER:PORT/DATABASE")
    return text


def _columns(columns: dict[str, str]) -> dict[str, str]:
    if not columns or ROW in columns:
        raise expected(f"at least one column, and none of the name {ROW}")
    return columns


type _Columns = Annotated[dict[_Identifier, _Type], AfterValidator(_columns)]


class SynapseSettings(DeploymentSettings):
    protocol: Literal["synapse"]
    url: Annotated[str, AfterValidator(_database_url), Field(repr=False)]
    model_table: _Table
    model_column: _Identifier
    """Holds the ONNX model, varbinary(max)."""
    id_column: _Identifier
    model_id: _ModelId
    """Of the row of `model_table` that has the model."""
    inputs: _Columns
    """The model's inputs: names and T-SQL types."""
    outputs: _Columns
    """The model's outputs: names and T-SQL types."""
    connections: Annotated[int, Field(ge=1, le=64)] = 4
    """Open at once, in each worker; further calls wait for one."""
    user: str | None = None
    password: SecretStr | None = None
    """Of a SQL login, instead of `auth`."""

    @model_validator(mode="after")
    def _one_login(self) -> SynapseSettings:
        if (self.user is None) != (self.password is None):
            raise expected("user and password together")
        if (self.user is None) == (self.auth is None):
            raise expected("exactly one of: auth, user and password")
        if self.auth is not None and self.auth.key is not None:
            raise expected("auth to be managed_identity: a database takes no keys")
        return self


class Synapse(JsonOverHttp):
    tasks = frozenset({Task.SCORE})

    def __init__(self, settings: SynapseSettings) -> None:
        self._url = URL(settings.url)
        self._inputs = frozenset(settings.inputs)

    def request(self, call: ModelCall) -> Request:
        rows: list[JsonValue] = [
            {ROW: number, **row} for number, row in enumerate(self._rows(call.payload))
        ]
        return Request(self._url, {}, json_body.encode(rows))

    def verdict(self, reply: Reply, now: datetime) -> Verdict:
        """The status only says what the database's own code means here: the code is the reason."""
        code, _ = verdicts.error_code(reply.body)
        return replace(super().verdict(reply, now), reason=code)

    def usage(self, answer: JsonValue) -> Usage:
        return Usage(requests=1)

    def _rows(self, payload: JsonValue) -> list[JsonObject]:
        match payload:
            case {"rows": [*rows], **rest} if not rest:
                return [self._row(f"payload.rows[{n}]", row) for n, row in enumerate(rows)]
            case {"columns": dict(columns), **rest} if not rest:
                return self._across(columns)
        raise invalid("payload", "an object of rows, a list, or of columns, an object")

    def _across(self, columns: JsonObject) -> list[JsonObject]:
        lists = {name: values for name, values in columns.items() if isinstance(values, list)}
        if len(lists) != len(columns) or len({len(values) for values in lists.values()}) > 1:
            raise invalid("payload.columns", "lists of one length")
        count = len(next(iter(lists.values()), []))
        rows = [{name: values[n] for name, values in lists.items()} for n in range(count)]
        return [self._row("payload.columns", row) for row in rows]

    def _row(self, field: str, row: JsonValue) -> JsonObject:
        if not isinstance(row, dict) or row.keys() != self._inputs:
            raise invalid(field, f"the columns {', '.join(sorted(self._inputs))}")
        for name, value in row.items():
            if isinstance(value, list | dict):
                raise invalid(f"{field}.{name}", "text, a number, true, false or null")
        return row


def wire(settings: SynapseSettings) -> SqlWire:
    """What carries the requests of a deployment: to be closed with it."""
    url = URL(settings.url)
    password = settings.password.get_secret_value() if settings.password is not None else ""
    database = Database(
        server=f"{url.host},{url.port or PORT}",
        name=url.path.removeprefix("/"),
        statement=statement(settings),
        user=settings.user,
        password=password,
    )
    return SqlWire(database, settings.connections)


def statement(settings: SynapseSettings) -> str:
    """The T-SQL that scores the rows of its one parameter."""
    table = ".".join(_quoted(part) for part in settings.model_table.split("."))
    model = f"SELECT {_quoted(settings.model_column)} FROM {table}"  # noqa: S608 - of settings alone
    where = f"{_quoted(settings.id_column)} = {_literal(settings.model_id)}"
    inputs = ", ".join([f"[{ROW}] int", *_declared(settings.inputs)])
    outputs = ", ".join(f"p.{_quoted(name)}" for name in settings.outputs)
    return (  # of settings alone, each part of a checked shape
        f"WITH d AS (SELECT * FROM OPENJSON(CAST(? AS nvarchar(max))) WITH ({inputs}))"  # noqa: S608
        f" SELECT d.[{ROW}], {outputs}"
        f" FROM PREDICT(MODEL = ({model} WHERE {where}), DATA = d, RUNTIME = ONNX)"
        f" WITH ({', '.join(_declared(settings.outputs))}) AS p"
    )


def _declared(columns: dict[str, str]) -> list[str]:
    return [f"{_quoted(name)} {kind}" for name, kind in columns.items()]


def _quoted(identifier: str) -> str:
    return f"[{identifier.replace(']', ']]')}]"


def _literal(value: int | str) -> str:
    if isinstance(value, int):
        return str(value)
    doubled = value.replace("'", "''")
    return f"N'{doubled}'"
