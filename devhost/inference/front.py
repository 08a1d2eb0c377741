"""What Azure ML's front end adds to a container, for every local endpoint in one process.

`POST /{endpoint}/score` and OpenAI's routes below `/{endpoint}/v1/`, with

    401  no key or a wrong one (`Authorization: Bearer KEY`, or `api-key: KEY`)
    404  no such endpoint, or no such deployment (header azureml-model-deployment)
    408  no answer within the deployment's request timeout
    424  the container answered other than 200: its status and reason are in
         ms-azureml-model-error-statuscode and ms-azureml-model-error-reason
    429  more requests inside than twice max_concurrent_requests_per_instance x instances
    502  the container broke the connection
    503  no container is listening

as https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints lists
them. On OpenAI's routes the container's own status is passed on instead of 424, as OpenAI does.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devhost.inference.gate import Full, Gate
from devhost.inference.settings import Deployment, Endpoint, FrontSettings

CLIENT_REQUEST_ID = "x-ms-client-request-id"
DEPLOYMENT = "azureml-model-deployment"
RETRY_AFTER_SECONDS = 1


def front(settings: FrontSettings) -> Starlette:
    """The application for these endpoints."""
    served = {endpoint.name: _Served(endpoint) for endpoint in settings.endpoints}

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # The gates limit connections; the server closes each after one answer.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            app.state.session = session
            yield

    async def invoke(request: Request) -> Response:
        endpoint = served.get(request.path_params["endpoint"])
        if endpoint is None:
            response = _refusal(HTTPStatus.NOT_FOUND, "No such endpoint.")
        else:
            response = await endpoint.answer(request, app.state.session)
        response.headers["x-ms-request-id"] = str(uuid.uuid4())
        if sent := request.headers.get(CLIENT_REQUEST_ID):
            response.headers[CLIENT_REQUEST_ID] = sent
        return response

    async def healthz(_: Request) -> Response:
        return JSONResponse({"endpoints": sorted(served)})

    routes = [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/{endpoint}/{path:path}", invoke, methods=["POST"]),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    return app


class _Served:
    """One endpoint with the gates of its deployments."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._key = endpoint.key.encode()
        self._default = endpoint.deployments[0]
        self._deployments = {each.name: each for each in endpoint.deployments}
        self._gates = {each.name: Gate(each.concurrency) for each in endpoint.deployments}

    async def answer(self, request: Request, session: aiohttp.ClientSession) -> Response:
        if not self._authorised(request):
            return _refusal(HTTPStatus.UNAUTHORIZED, "The key is missing or wrong.")
        deployment = self._deployments.get(request.headers.get(DEPLOYMENT, self._default.name))
        if deployment is None:
            return _refusal(HTTPStatus.NOT_FOUND, "No such deployment.")
        path: str = request.path_params["path"]
        if path not in deployment.routes:
            return _refusal(HTTPStatus.NOT_FOUND, "No such path.")
        try:
            async with (
                asyncio.timeout(deployment.timeout_seconds),
                self._gates[deployment.name].passing(),
            ):
                response = await _call(deployment, path, request, session)
        except Full:
            response = _refusal(HTTPStatus.TOO_MANY_REQUESTS, "Too many pending requests.")
            response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        except TimeoutError:
            response = _refusal(HTTPStatus.REQUEST_TIMEOUT, "The request timed out.")
        except aiohttp.ClientConnectorError:
            response = _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "No container is listening.")
        except aiohttp.ClientError:
            response = _refusal(HTTPStatus.BAD_GATEWAY, "The container broke the connection.")
        response.headers[DEPLOYMENT] = deployment.name
        return response

    def _authorised(self, request: Request) -> bool:
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        key = bearer if scheme.lower() == "bearer" else request.headers.get("api-key", "")
        return secrets.compare_digest(key.encode(), self._key)


async def _call(
    deployment: Deployment, path: str, request: Request, session: aiohttp.ClientSession
) -> Response:
    headers = {"Content-Type": request.headers.get("content-type", "application/json")}
    if sent := request.headers.get(CLIENT_REQUEST_ID):
        headers[CLIENT_REQUEST_ID] = sent
    url = deployment.upstream + deployment.routes[path]
    async with session.post(url, data=await request.body(), headers=headers) as answer:
        body = await answer.read()
        wrapped = answer.status != HTTPStatus.OK and path == "score"
        response = Response(
            body,
            status_code=HTTPStatus.FAILED_DEPENDENCY if wrapped else answer.status,
            media_type=answer.headers.get("Content-Type"),
        )
        if wrapped:
            response.headers["ms-azureml-model-error-statuscode"] = str(answer.status)
            response.headers["ms-azureml-model-error-reason"] = answer.reason or "model_error"
        if retry_after := answer.headers.get("Retry-After"):
            response.headers["Retry-After"] = retry_after
        return response


def _refusal(status: HTTPStatus, message: str) -> Response:
    return JSONResponse(
        {"error": {"code": status.name.lower(), "message": message}}, status_code=status
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="The front of all local model endpoints.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--settings", type=Path, required=True, help="JSON, see settings.py")
    arguments = parser.parse_args()
    settings = FrontSettings.model_validate_json(arguments.settings.read_bytes())
    uvicorn.run(front(settings), host="127.0.0.1", port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
