"""The statement that the settings make, and the rows that a payload becomes."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from contracts.calls import ModelCall, Task, Usage
from contracts.errors import InvalidRequest
from endpoints.protocols.interface import DeploymentProtocol
from endpoints.protocols.synapse import Synapse, SynapseSettings, statement, wire
from endpoints.sql import failures
from tests.unit.endpoints_fakes import NOON

IDENTITY = {"managed_identity": "https://database.windows.net/.default"}


def settings(**fields: object) -> SynapseSettings:
    given = {
        "name": "d",
        "protocol": "synapse",
        "url": "mssql://ws.sql.azuresynapse.net/scoring",
        "auth": IDENTITY,
        "model_table": "dbo.Models",
        "model_column": "Model",
        "id_column": "Id",
        "model_id": 7,
        "inputs": {"age": "int", "plan": "nvarchar(20)"},
        "outputs": {"score": "float", "label": "bigint"},
        **fields,
    }
    return SynapseSettings.model_validate(given)


def request(payload: JsonValue) -> list[JsonValue]:
    made = Synapse(settings()).request(ModelCall("m", Task.SCORE, payload))
    assert str(made.url) == "mssql://ws.sql.azuresynapse.net/scoring"
    return json.loads(made.body)


def test_the_statement() -> None:
    assert statement(settings()) == (
        "WITH d AS (SELECT * FROM OPENJSON(CAST(? AS nvarchar(max)))"
        " WITH ([sluice_row] int, [age] int, [plan] nvarchar(20)))"
        " SELECT d.[sluice_row], p.[score], p.[label]"
        " FROM PREDICT(MODEL = (SELECT [Model] FROM [dbo].[Models] WHERE [Id] = 7),"
        " DATA = d, RUNTIME = ONNX)"
        " WITH ([score] float, [label] bigint) AS p"
    )


def test_a_model_may_be_known_by_a_text() -> None:
    assert "WHERE [Id] = N'churn-v2'" in statement(settings(model_id="churn-v2"))


def test_it_is_a_protocol_as_any_other() -> None:
    protocol: DeploymentProtocol = Synapse(settings())
    assert protocol.tasks == {Task.SCORE}
    assert protocol.health() is None
    assert protocol.authorization("t") == ("authorization", "Bearer t")
    assert protocol.usage({"rows": []}) == Usage(requests=1)


def test_rows_are_numbered() -> None:
    payload = {"rows": [{"age": 40, "plan": "a"}, {"plan": None, "age": 41}]}
    assert request(payload) == [
        {"sluice_row": 0, "age": 40, "plan": "a"},
        {"sluice_row": 1, "age": 41, "plan": None},
    ]


def test_columns_are_the_same_turned_round() -> None:
    assert request({"columns": {"age": [1, 2], "plan": ["x", "y"]}}) == request(
        {"rows": [{"age": 1, "plan": "x"}, {"age": 2, "plan": "y"}]}
    )
    assert request({"columns": {"age": [], "plan": []}}) == request({"rows": []}) == []


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        (None, "payload"),
        ([], "payload"),
        ({}, "payload"),
        ({"rows": {}}, "payload"),
        ({"rows": [], "columns": {}}, "payload"),
        ({"columns": []}, "payload"),
        ({"rows": [{"age": 1}]}, "payload.rows[0]"),
        ({"rows": [{"age": 1, "plan": "a"}, [1]]}, "payload.rows[1]"),
        ({"rows": [{"age": 1, "plan": "a", "sluice_row": 0}]}, "payload.rows[0]"),
        ({"rows": [{"age": 1, "plan": "a", "more": 1}]}, "payload.rows[0]"),
        ({"rows": [{"age": [1], "plan": "a"}]}, "payload.rows[0].age"),
        ({"columns": {"age": 1, "plan": []}}, "payload.columns"),
        ({"columns": {"age": [1], "plan": []}}, "payload.columns"),
        ({"columns": {"age": [1]}}, "payload.columns"),
    ],
)
def test_a_payload_of_another_shape_is_refused_by_its_field(payload: JsonValue, field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        request(payload)
    assert [problem.field for problem in raised.value.problems] == [field]


@given(st.text())
def test_no_text_of_a_payload_gets_into_the_statement(text: str) -> None:
    [row] = request({"rows": [{"age": 1, "plan": text}]})
    assert row["plan"] == text
    assert statement(settings()).count("?") == 1


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=20
) | st.sampled_from(["a]b", "a'b", "a;--", "a b", "[a", "x?", "1a", "a.b.c", "int) AS p; DROP"])


@given(field=st.sampled_from(["model_table", "model_column", "id_column", "model_id"]), text=NAMES)
def test_a_name_of_the_settings_is_plain_or_refused(field: str, text: str) -> None:
    try:
        made = statement(settings(**{field: text}))
    except ValidationError:
        return
    assert re.fullmatch(r"[A-Za-z0-9_ .:/-]+", text)
    assert text in made.replace("].[", ".")


@given(name=NAMES, kind=NAMES)
def test_columns_and_types_are_plain_or_refused(name: str, kind: str) -> None:
    for side in ("inputs", "outputs"):
        with pytest.raises(ValidationError):
            settings(**{side: {"a": kind}})
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            with pytest.raises(ValidationError):
                settings(**{side: {name: "int"}})


@pytest.mark.parametrize(
    "kind",
    ["int", "BIGINT", "real", "float", "bit", "decimal(9,2)", "numeric(9)", "varchar(max)",
     "nvarchar(4000)", "nchar(3)", "char(1)", "date", "datetime2"],
)  # fmt: skip
def test_types_that_a_column_may_have(kind: str) -> None:
    assert f"[age] {kind}" in statement(settings(inputs={"age": kind}))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"url": "https://ws.sql.azuresynapse.net/scoring"}, "mssql://"),
        ({"url": "mssql://ws.sql.azuresynapse.net"}, "mssql://"),
        ({"url": "mssql://u:p@ws/scoring"}, "mssql://"),
        ({"url": "mssql://ws/scoring?Encrypt=no"}, "mssql://"),
        ({"url": "mssql://ws/a/b"}, "mssql://"),
        ({"url": "mssql://ws/a;Encrypt=no"}, "mssql://"),
        ({"auth": None}, "exactly one of"),
        ({"user": "u", "password": "p"}, "exactly one of"),
        ({"auth": None, "user": "u"}, "together"),
        ({"auth": {"key": "k"}}, "no keys"),
        ({"inputs": {}}, "at least one column"),
        ({"outputs": {"sluice_row": "int"}}, "none of the name"),
        ({"connections": 0}, "greater"),
    ],
)
def test_settings_that_cannot_work_are_refused(fields: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        settings(**fields)


def test_a_password_is_never_shown() -> None:
    made = settings(auth=None, user="u", password="hunter2")
    assert "hunter2" not in repr(made)


@pytest.mark.parametrize(
    ("code", "status", "outcome"),
    [("SQL_10928", 429, "throttled"), ("SQL_18456", 401, "unusable"), ("SQL_245", 400, "rejected")],
)
def test_the_reason_is_the_databases_code_and_no_http_status(
    code: str, status: int, outcome: str
) -> None:
    verdict = Synapse(settings()).verdict(failures.reply(status, code, 10), NOON)
    assert (verdict.outcome, verdict.reason) == (outcome, code)
    assert verdict.token_refused == (status == 401)


async def test_the_wire_is_made_of_the_settings() -> None:
    sql = wire(settings(url="mssql://ws.example:14330/scoring", auth=None, user="u", password="p"))
    await sql.aclose()
    database = sql._database
    assert (database.server, database.name) == ("ws.example,14330", "scoring")
    assert (database.user, database.password) == ("u", "p")
    by_token = wire(settings())
    await by_token.aclose()
    assert (by_token._database.server, by_token._database.user) == (
        "ws.sql.azuresynapse.net,1433",
        None,
    )
