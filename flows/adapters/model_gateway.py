"""A listener on loopback through which SDKs that insist on a URL reach the models of a run.

    /models/MODEL/v1/chat/completions, /v1/embeddings                        OpenAI
    /models/MODEL/openai/deployments/ANY/chat/completions, .../embeddings    Azure OpenAI
    /models/MODEL/chat/completions, /embeddings                              Azure AI inference
    /models/MODEL/score                                                      a scoring endpoint

A caller shows the key of its run, which nobody can guess and which ends with the run. A call that
failed is answered with a status that no SDK takes as an invitation to wait or to try again, for
both are the orchestrator's: 400 when the model refused the request, else 424, as Azure ML answers
for its models. The error itself stays with the run.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from pydantic import JsonValue

from contracts.calls import ModelAnswer, ModelCall, Task
from contracts.errors import CallRejected, SluiceError
from flows.adapters.calls import ModelCalls
from flows.adapters.once import Once

if TYPE_CHECKING:  # imported when the listener starts: loading flows needs no HTTP server
    from aiohttp import web

_log = logging.getLogger("sluice.flows")

_ROUTES = {
    "/models/{model}/v1/chat/completions": Task.CHAT,
    "/models/{model}/v1/embeddings": Task.EMBEDDINGS,
    "/models/{model}/openai/deployments/{deployment}/chat/completions": Task.CHAT,
    "/models/{model}/openai/deployments/{deployment}/embeddings": Task.EMBEDDINGS,
    "/models/{model}/chat/completions": Task.CHAT,
    "/models/{model}/embeddings": Task.EMBEDDINGS,
    "/models/{model}/score": Task.SCORE,
}
_BACKLOG = 4096
"""Connections that may wait to be accepted: a batch's runs begin at once, and with too few of these
some would wait a second for their next try."""
RUN_HEADER = "ms-azure-ai-promptflow"
"""JSON with `root_run_id`: PromptFlow adds it to every call that an OpenAI client makes."""


class _Refused(Exception):
    """Answered as an error of the OpenAI shape."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(eq=False, slots=True)
class Admission:
    """One run's leave to call models through the gateway."""

    calls: ModelCalls
    key: str = field(default_factory=partial(secrets.token_urlsafe, 32))
    run_id: str = field(default_factory=partial(secrets.token_urlsafe, 16))
    _context: Context = field(default_factory=copy_context)
    _pending: set[asyncio.Task[ModelAnswer]] = field(default_factory=set)

    async def call(self, call: ModelCall) -> ModelAnswer:
        """Make the call as the run's own code would: in its context, and not beyond its end."""
        task = asyncio.get_running_loop().create_task(
            self.calls(call), context=self._context.copy()
        )
        self._pending.add(task)
        try:
            await asyncio.wait([task])
        finally:
            self._pending.discard(task)
            task.cancel()
        if task.cancelled():
            raise _Refused(HTTPStatus.UNAUTHORIZED, "run_ended", "The run has ended.")
        return task.result()

    def end(self) -> None:
        for task in self._pending:
            task.cancel()


class ModelGateway:
    """The listener; it starts when first needed and serves the event loop it started in."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listener: Once[tuple[web.AppRunner, str]] | None = None
        self._by_key: dict[str, Admission] = {}
        self._by_run: dict[str, Admission] = {}
        self._flow_keys: dict[str, str] = {}

    async def start(self) -> str:
        """The base URL, `http://127.0.0.1:PORT`. Raises OSError when no port can be had."""
        loop = asyncio.get_running_loop()
        if self._listener is None or self._loop is not loop:
            self._loop, self._listener = loop, Once(self._listen)
        _, url = await self._listener.get()
        return url

    async def close(self) -> None:
        """Stop listening. The next `start` listens anew."""
        listener, self._listener = self._listener, None
        if listener is not None and self._loop is asyncio.get_running_loop():
            runner, _ = await listener.get()
            await runner.cleanup()

    @contextmanager
    def admit(self, calls: ModelCalls) -> Iterator[Admission]:
        """Let one run in until the block ends; calls still under way are then cancelled."""
        admission = Admission(calls)
        self._by_key[admission.key] = self._by_run[admission.run_id] = admission
        try:
            yield admission
        finally:
            del self._by_key[admission.key], self._by_run[admission.run_id]
            admission.end()

    def flow_key(self, flow: str) -> str:
        """A key for what a flow builds once for all its runs.

        It opens nothing by itself: a call must say by RUN_HEADER for which run of the flow it is.
        """
        key = secrets.token_urlsafe(32)
        self._flow_keys[key] = flow
        return key

    async def _listen(self) -> tuple[web.AppRunner, str]:
        from aiohttp import web

        # Only this process's own flows send here, so no body is too large.
        app = web.Application(client_max_size=0)
        for path, task in _ROUTES.items():
            app.router.add_post(path, partial(self._answer, task))
        app.router.add_route("*", "/{path:.*}", _no_such_path)
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=_BACKLOG).start()
        host, port = runner.addresses[0][:2]
        return runner, f"http://{host}:{port}"

    async def _answer(self, task: Task, request: web.Request) -> web.Response:
        try:
            admission = self._admission(request)
            call = ModelCall(request.match_info["model"], task, await _payload(task, request))
            answer = await admission.call(call)
        except _Refused as refused:
            return _error(refused.status, refused.code, str(refused))
        except CallRejected as error:
            return _error(HTTPStatus.BAD_REQUEST, error.code, error.detail)
        except Exception as error:  # noqa: BLE001 - the run keeps it, and raises it to its caller
            return _failed_call(error)
        return _json(HTTPStatus.OK, answer.body)

    def _admission(self, request: web.Request) -> Admission:
        key = request.headers.get("api-key") or request.headers.get("Authorization") or ""
        key = key.removeprefix("Bearer ")
        admission = self._by_key.get(key)
        flow = self._flow_keys.get(key)
        if flow is not None:
            admission = self._by_run.get(_run_id(request))
            if admission is None or admission.calls.info.name != flow:
                _log.warning("flow %s used a key that it kept from when it was built", flow)
                raise _Refused(
                    HTTPStatus.UNAUTHORIZED,
                    "key_of_no_run",
                    "Keys are good for one run: read the key from its connection for each call,"
                    " in the task or thread that PromptFlow runs the call in.",
                )
        if admission is None:
            raise _Refused(
                HTTPStatus.UNAUTHORIZED,
                "invalid_api_key",
                "No run under way has this key; send the connection's as `Authorization: Bearer`"
                " or `api-key`.",
            )
        return admission


def _run_id(request: web.Request) -> str:
    try:
        run = json.loads(request.headers.get(RUN_HEADER, ""))["root_run_id"]
    except (ValueError, KeyError, TypeError):
        return ""
    return run if isinstance(run, str) else ""


async def _payload(task: Task, request: web.Request) -> JsonValue:
    try:
        payload: JsonValue = await request.json()
    except ValueError:
        raise _Refused(HTTPStatus.BAD_REQUEST, "invalid_json", "The body is not JSON.") from None
    if task is Task.SCORE:
        return payload
    if not isinstance(payload, dict):
        raise _Refused(HTTPStatus.BAD_REQUEST, "invalid_request", "The body is not an object.")
    if payload.get("stream"):
        raise _Refused(
            HTTPStatus.BAD_REQUEST,
            "stream_unsupported",
            "A flow's calls are not streamed: leave `stream` out or send false.",
        )
    # The path names the model.
    return {name: value for name, value in payload.items() if name not in ("model", "stream")}


async def _no_such_path(request: web.Request) -> web.Response:
    known = ", ".join(f"POST {path}" for path in _ROUTES)
    return _error(HTTPStatus.NOT_FOUND, "not_found", f"No such path. There are: {known}.")


def _failed_call(error: Exception) -> web.Response:
    known = error if isinstance(error, SluiceError) else SluiceError("The call failed.")
    status = {"ms-azureml-model-error-statuscode": str(int(known.status))}
    return _error(HTTPStatus.FAILED_DEPENDENCY, known.code, known.detail, status)


def _error(
    status: HTTPStatus, code: str, message: str, headers: dict[str, str] | None = None
) -> web.Response:
    failed = status is HTTPStatus.FAILED_DEPENDENCY
    kind = "server_error" if failed else "invalid_request_error"
    body: JsonValue = {"error": {"message": message, "type": kind, "code": code, "param": None}}
    return _json(status, body, {"x-should-retry": "false", **(headers or {})})


def _json(
    status: HTTPStatus, body: JsonValue, headers: dict[str, str] | None = None
) -> web.Response:
    from aiohttp import web

    return web.json_response(body, status=status, headers=headers)
