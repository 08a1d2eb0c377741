"""What every HTTP door does alike."""

import json
import logging
from types import SimpleNamespace

import pytest
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

import wiring
from contracts.errors import (
    DependencyUnavailable,
    InvalidRequest,
    NotFound,
    PayloadTooLarge,
    SluiceError,
    Unauthenticated,
)
from contracts.identity import Identity, Role
from tests.unit.http_fakes import asked
from triggers.door import door, parse_json, query_int, read_json
from triggers.http import CallerLeft, Request
from triggers.openai.errors import openai_door


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str
    most: int = 1


def request(body: bytes = b"", **query: str) -> Request:
    return Request(asked("POST", body=body, query=query))


async def answered(error: Exception) -> Response:
    @door(None)
    async def handler(req: Request) -> Response:
        raise error

    return await handler(asked())


async def test_an_error_is_answered_as_problem_details():
    response = await answered(NotFound("There is no such thing."))

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert json.loads(response.body) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "code": "not_found",
        "detail": "There is no such thing.",
        "instance": "/v1/things",
    }


async def test_a_callers_error_is_not_logged_and_a_fault_is_logged_once(caplog):
    with caplog.at_level(logging.INFO, logger="sluice"):
        await answered(NotFound("no"))
        assert caplog.records == []
        response = await answered(DependencyUnavailable("Storage is down."))
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert response.headers["Retry-After"] == "5"


async def test_an_unexpected_error_keeps_its_message_out_of_answer_and_log(caplog):
    response = await answered(ValueError("the prompt: my secret"))

    assert response.status_code == 500
    assert b"secret" not in response.body
    [record] = caplog.records
    assert "ValueError" in record.getMessage()
    assert "test_door.py" in record.getMessage()
    assert "secret" not in caplog.text


async def of_reader(door_kind, monkeypatch, identities, refused=None) -> Response:
    """The answer of a door that takes `read`; error codes of who is refused go to `refused`."""
    refusals = SimpleNamespace(count=[].append if refused is None else refused.append)
    parts = SimpleNamespace(identities=identities, refusals=refusals)
    monkeypatch.setattr(wiring, "parts", lambda: parts)

    @door_kind(Role.READ)
    async def handler(req: Request) -> Response:
        return Response(f"{req.identity.subject} of {req.identity.tenant}")

    return await handler(asked())


class Known:
    def __init__(self, *roles: Role) -> None:
        self._roles = frozenset(roles)

    async def identify(self, headers) -> Identity:
        return Identity("research", "key:1", self._roles)


class Unknown:
    async def identify(self, headers) -> Identity:
        raise Unauthenticated("Nobody knows.")


@pytest.mark.parametrize("kind", [door, openai_door])
async def test_who_asks_is_known_before_the_handler_is_called(kind, monkeypatch):
    answer = await of_reader(kind, monkeypatch, Known(Role.READ, Role.BILL))
    assert answer.body == b"key:1 of research"


@pytest.mark.parametrize("kind", [door, openai_door])
async def test_without_tenants_the_platforms_key_has_every_role(kind, monkeypatch):
    answer = await of_reader(kind, monkeypatch, None)
    assert answer.body == b"platform-key of default"


@pytest.mark.parametrize("kind", [door, openai_door])
async def test_who_lacks_the_role_is_refused(kind, monkeypatch):
    answer = await of_reader(kind, monkeypatch, Known(Role.SUBMIT, Role.OPERATE, Role.BILL))
    assert answer.status_code == 403
    assert b"`read`" in answer.body


@pytest.mark.parametrize("kind", [door, openai_door])
async def test_who_is_not_known_is_told_how_to_make_themselves_known(kind, monkeypatch, caplog):
    answer = await of_reader(kind, monkeypatch, Unknown())
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert caplog.records == []


@pytest.mark.parametrize(
    ("body", "field", "expected"),
    [
        (b"", "(body)", "JSON text"),
        (b"{", "(body)", "JSON text"),
        (b"[1]", "(body)", "object"),
        (b"\xff\xfe", "(body)", "JSON text"),
        (b"{}", "text", "a value: the field is required"),
        (b'{"text": 1}', "text", "valid string"),
        (b'{"text": "", "most": "many"}', "most", "valid integer"),
        (b'{"text": "", "more": 1}', "more", "no such field"),
    ],
)
def test_a_bad_body_is_told_by_field_and_expectation(body, field, expected):
    with pytest.raises(InvalidRequest) as caught:
        parse_json(body, Body)
    [problem] = caught.value.problems
    assert problem.field == field
    assert expected in problem.expected
    assert field in caught.value.detail


async def test_a_body_past_the_limit_is_refused():
    with pytest.raises(PayloadTooLarge, match="at most 10"):
        await read_json(request(b'{"text": "aaaaaa"}'), Body, 10)
    assert (await read_json(request(b'{"text":"a"}'), Body, 12)).text == "a"


async def test_nobody_is_answered_when_the_caller_has_left(caplog):
    assert (await answered(CallerLeft())).status_code == 499
    assert caplog.records == []


@pytest.mark.parametrize("text", ["0", "101", "-1", "ten", "", "1.5", "٣", "9" * 400])
def test_a_number_out_of_bounds_is_refused(text):
    with pytest.raises(InvalidRequest, match="a whole number from 1 to 100"):
        query_int(request(limit=text), "limit", default=20, least=1, most=100)


def test_a_number_within_bounds_or_missing():
    assert query_int(request(limit="100"), "limit", default=20, least=1, most=100) == 100
    assert query_int(request(), "limit", default=20, least=1, most=100) == 20


def test_the_family_root_is_a_500():
    assert SluiceError("x").problem().status == 500


async def test_who_is_refused_is_counted(monkeypatch):
    refused: list[str] = []
    await of_reader(door, monkeypatch, Unknown(), refused)
    await of_reader(openai_door, monkeypatch, Known(Role.SUBMIT), refused)
    await of_reader(door, monkeypatch, Known(Role.READ), refused)
    await of_reader(door, monkeypatch, None, refused)
    assert refused == ["unauthenticated", "forbidden"]
