"""The vendor's own worker library, with as much of a Functions host as its HTTP streams need.

`python -m tests.integration.vendor_worker --app DIR` serves the app's HTTP functions through
`azure_functions_runtime`, the library that Azure's worker runs on Python 3.13: it indexes the app
and starts the HTTP server of the app's web extension. Here is what the host does about it: it finds
the function, forwards the request to that server with the invocation's id, and has the worker call
the function beside it. What the local host does can so be held against it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as worker
from aiohttp import ClientSession, web
from multidict import CIMultiDict
from yarl import URL

from devhost.functions_host.app_loader import AppFunction, Binding
from devhost.functions_host.host_json import read_host_config
from devhost.functions_host.http_endpoints import Endpoint, http_endpoints
from devhost.functions_host.routes import split_path

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer"}


class Message(SimpleNamespace):
    """A protobuf message as far as the worker looks at it."""

    def WhichOneof(self, group: str) -> str | None:  # noqa: N802 - protobuf's name
        return next(iter(vars(self)), None)


class Protos:
    """The worker makes its messages from these: any message, with any fields."""

    BindingInfo = type("BindingInfo", (Message,), {"undefined": 0, "out": 1, "inout": 2})
    StatusResult = type("StatusResult", (Message,), {"Failure": 0, "Success": 1})

    def __getattr__(self, name: str) -> type[Message]:
        return Message


def check(result: Any) -> None:
    """Raises RuntimeError with what the worker told the host."""
    if result.status != Protos.StatusResult.Success:
        raise RuntimeError(f"{result.exception.message}\n{result.exception.stack_trace}")


class Host:
    def __init__(self, app: Path, durable_client: str) -> None:
        self._app = app
        self._durable_client = durable_client
        self._endpoints: list[Endpoint] = []
        self._ids: dict[str, str] = {}
        self._worker = ""
        self._session: ClientSession | None = None

    async def start(self) -> None:
        properties = {"host": "127.0.0.1", "protos": Protos()}
        init = Message(function_app_directory=str(self._app), capabilities={})
        answer = await worker.worker_init_request(
            Message(request=Message(worker_init_request=init), properties=properties)
        )
        check(answer.result)
        worker.start_threadpool_executor()
        self._worker = answer.capabilities["HttpUri"]
        assert answer.capabilities["RequiresRouteParameters"] == "true"
        metadata = await worker.functions_metadata_request(None)
        check(metadata.result)
        functions = [_function(each) for each in metadata.function_metadata_results]
        self._ids = {each.name: each.function_id for each in metadata.function_metadata_results}
        prefix = read_host_config(self._app / "host.json").http.route_prefix
        self._endpoints = http_endpoints(functions, prefix)
        self._session = ClientSession(auto_decompress=False)
        await _listening(URL(self._worker))

    async def serve(self, request: web.Request) -> web.StreamResponse:
        path = split_path(request.raw_path.partition("?")[0])
        for endpoint in self._endpoints:
            values = endpoint.route.match(path)
            if values is not None and endpoint.allows(request.method):
                return await self._forward(endpoint.function, values, request)
        return web.Response(status=404)

    async def _forward(
        self, function: AppFunction, values: dict[str, str], request: web.Request
    ) -> web.StreamResponse:
        invocation_id = str(uuid.uuid4())
        # Not cancelled with the request: the worker is told nothing of a caller who leaves.
        invoked = asyncio.create_task(self._invoke(function, values, invocation_id))
        headers = CIMultiDict(_end_to_end(request.headers))
        headers["x-ms-invocation-id"] = invocation_id
        assert self._session is not None
        async with self._session.request(
            request.method,
            URL(f"{self._worker}{request.raw_path}", encoded=True),
            headers=headers,
            data=request.content if request.can_read_body else None,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status)
            response.headers.extend(_end_to_end(answer.headers))
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
        await invoked
        return response

    async def _invoke(self, function: AppFunction, values: dict[str, str], id: str) -> None:
        nothing = Message()
        http = Message(method="", url="", headers={}, query={}, params=values, body=nothing)
        given = {function.trigger.name: Message(http=http)}
        for binding in function.bindings:
            if binding.type == "durableClient":
                given[binding.name] = Message(string=self._durable_client)
        request = Message(
            invocation_id=id,
            function_id=self._ids[function.name],
            input_data=[_Input(name, value) for name, value in given.items()],
            trigger_metadata={},
            trace_context=Message(trace_parent="", trace_state="", attributes={}),
            retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
        )
        await worker.invocation_request(Message(request=Message(invocation_request=request)))


def _end_to_end(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP]


async def _listening(url: URL) -> None:
    """The worker says where its server will be before it is there; the host tries again."""
    while True:
        try:
            _, writer = await asyncio.open_connection(url.host, url.port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


class _Input:
    def __init__(self, name: str, data: Message) -> None:
        self.name = name
        self.data = data

    def WhichOneof(self, group: str) -> str:  # noqa: N802 - protobuf's name
        return "data"


def _function(metadata: Any) -> AppFunction:
    bindings = [Binding.from_json(text) for text in metadata.raw_bindings]
    return AppFunction(
        name=metadata.name,
        call=lambda: None,  # the worker's to call
        trigger=next(each for each in bindings if each.is_trigger),
        bindings=tuple(each for each in bindings if not each.is_trigger),
        is_async=True,
        wants_context=False,
    )


async def main(app: Path, durable_client: str) -> None:
    host = Host(app, durable_client)
    await host.start()
    application = web.Application(client_max_size=0)
    application.router.add_route("*", "/{path:.*}", host.serve)
    runner = web.AppRunner(application, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sys.stdout.write(f"Host ready: http://127.0.0.1:{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--app", type=Path, required=True)
    parser.add_argument("--durable-client", default="{}", help="value of durable client bindings")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    directory = arguments.app.resolve()
    os.chdir(directory)
    sys.path.insert(0, str(directory))
    asyncio.run(main(directory, arguments.durable_client))
