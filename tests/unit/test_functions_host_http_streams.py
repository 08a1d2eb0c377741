"""HTTP functions of an app with a web extension, without a socket."""

from __future__ import annotations

import asyncio

import azure.functions as func
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

import triggers.web_extension  # noqa: F401 - an app's import of its web extension
from devhost.functions_host.app_loader import AppError, Binding
from devhost.functions_host.http_streams import StreamedMessages
from devhost.functions_host.web_extension import web_extension
from tests.unit.functions_host_fakes import function, invoker
from tests.unit.http_fakes import Caller, asked

LIMIT = 10


async def answer(call, caller: Caller | None = None, values=None, **request) -> Caller:
    """What a caller hears of this function."""
    caller = caller or Caller()
    extension = web_extension()
    assert extension is not None
    serving = StreamedMessages(extension, invoker(), LIMIT)
    given = asked("POST", caller=caller, **request)
    await serving(function(call), values or {}, given, caller.send)
    return caller


async def test_a_function_sees_the_request_route_values_and_its_invocation():
    seen = []

    async def look(req, context):
        seen.append((await req.body(), req.path_params, req.headers, context.invocation_id))
        return PlainTextResponse("seen")

    forged = {"x-ms-invocation-id": "forged", "x-tag": "red"}
    caller = await answer(look, body=b"text", values={"id": "7"}, headers=forged)
    [(body, values, headers, invocation_id)] = seen
    assert (body, values, headers["x-tag"]) == (b"text", {"id": "7"}, "red")
    assert headers.getlist("x-ms-invocation-id") == [invocation_id]
    assert caller.body == b"seen"


async def test_a_response_is_heard_while_it_is_made():
    more, caller = asyncio.Event(), Caller()

    async def words(req):
        async def two():
            yield "one "
            await more.wait()
            yield "two"

        return StreamingResponse(two())

    answering = asyncio.create_task(answer(words, caller))
    while caller.body != b"one ":
        await asyncio.sleep(0)
    more.set()
    await answering
    assert caller.body == b"one two"


async def test_a_caller_who_leaves_ends_the_stream():
    ended, caller = asyncio.Event(), Caller()

    async def words(req):
        async def endless():
            try:
                yield "one "
                await asyncio.Event().wait()
            finally:
                ended.set()

        return StreamingResponse(endless())

    answering = asyncio.create_task(answer(words, caller))
    while not caller.body:
        await asyncio.sleep(0)
    caller.pieces.clear()
    caller.gone.set()
    await answering
    assert ended.is_set()


@pytest.mark.parametrize("result", [None, RuntimeError("a secret of the inside")])
async def test_a_function_that_fails_answers_500_and_is_logged_once(result, caplog):
    async def broken(req):
        if result is not None:
            raise result

    caller = await answer(broken)
    assert caller.heard[0]["status"] == 500
    assert caller.body == b"Internal Server Error"
    assert caplog.text.count("Function broken raised") == 1


async def test_a_response_that_fails_on_the_way_is_broken_off():
    async def words(req):
        async def pieces():
            yield "so far"
            raise RuntimeError("and no further")

        return StreamingResponse(pieces())

    caller = Caller()
    with pytest.raises((RuntimeError, ExceptionGroup)):
        await answer(words, caller)
    assert caller.body == b"so far"
    assert caller.heard[-1]["more_body"] is True


async def test_a_body_that_is_announced_too_large_reaches_no_function():
    async def never(req):
        raise AssertionError("it was called")

    caller = await answer(never, body=b"x" * 11, headers={"content-length": "11"})
    assert caller.heard[0]["status"] == 413


async def test_a_body_that_grows_too_large_ends_for_the_function_as_if_the_caller_left(caplog):
    seen = []

    async def take(req):
        try:
            async for piece in req.stream():
                seen.append(piece)
        except ClientDisconnect:
            return Response(status_code=499)
        raise AssertionError("it came to its end")

    caller = await answer(take, body=[b"x" * 6, b"x" * 6, b"x"])
    assert seen == [b"x" * 6]
    assert [message["status"] for message in caller.heard if "status" in message] == [413]
    assert caplog.records == []


async def whole_messages(req: func.HttpRequest) -> func.HttpResponse: ...


async def whole_answer(req: Request) -> func.HttpResponse: ...


async def no_such_type(req: Nowhere) -> Response: ...  # noqa: F821


async def streams(req: Request) -> StreamingResponse: ...


async def unsaid(req): ...


def test_functions_of_the_other_kind_are_refused_as_the_worker_refuses_them():
    extension = web_extension()
    returns = (Binding("http", "$return", {}),)
    extension.check([function(each, bindings=returns) for each in (streams, unsaid)])
    for each in (whole_messages, whole_answer, no_such_type):
        with pytest.raises(AppError, match=f"function {each.__name__}: "):
            extension.check([function(each, bindings=returns)])
