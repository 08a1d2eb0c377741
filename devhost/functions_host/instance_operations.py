"""The operations of the durable HTTP API: each takes a request and the values of its path.

Parameters and statuses are those of the Durable extension's HTTP API reference.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from http import HTTPStatus

from azure.durable_functions import DurableFunctionsClient
from durabletask.client import OrchestrationState, parse_orchestration_state
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal.client_helpers import build_query_instances_req
from google.protobuf.wrappers_pb2 import StringValue
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from devhost.functions_host.http_messages import (
    MAX_BODY_BYTES,
    read_body,
    to_function_request,
    to_http_response,
)
from devhost.functions_host.hub_link import HubLink
from devhost.functions_host.instance_json import (
    ENDED,
    QueryError,
    describe,
    describe_history,
    flag_parameter,
    instance_query,
    output_of,
    status_code,
    status_name,
    status_parameter,
    time_parameter,
)
from devhost.functions_host.json_config import Json

CONTINUATION_HEADER = "x-ms-continuation-token"
PAGE_SIZE = 100
_RETRY_AFTER_SECONDS = 5

# The extension's own default: an instance that has ended gives its id free.
_REPLACES_ENDED = pb.OrchestrationIdReusePolicy(
    replaceableStatus=[
        pb.ORCHESTRATION_STATUS_COMPLETED,
        pb.ORCHESTRATION_STATUS_FAILED,
        pb.ORCHESTRATION_STATUS_TERMINATED,
        pb.ORCHESTRATION_STATUS_CANCELED,
    ]
)

type Handler = Callable[[Request, Mapping[str, str]], Awaitable[Response]]


class RefusedError(Exception):
    """The request cannot be done: the status and one sentence for the caller."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class InstanceOperations:
    """What can be asked of instances and done to them.

    Besides RefusedError and QueryError they raise grpc.aio.AioRpcError, when the hub refuses.
    """

    def __init__(
        self, link: HubLink, links: DurableFunctionsClient, orchestrators: Collection[str]
    ) -> None:
        """`links` only makes URLs: its own channel would wait long for a hub that is back."""
        self._link = link
        self._client = link.client
        self._links = links
        self._orchestrators = {name.casefold() for name in orchestrators}

    def table(self) -> list[tuple[str, str, Handler]]:
        """Method, route template below the API's root, and handler of each operation."""
        return [
            ("POST", "orchestrators/{name}/{id?}", self._start),
            ("GET", "instances", self._list),
            ("DELETE", "instances", self._purge_many),
            ("GET", "instances/{id}", self._status),
            ("DELETE", "instances/{id}", self._purge),
            ("POST", "instances/{id}/raiseEvent/{event}", self._raise_event),
            ("POST", "instances/{id}/terminate", self._terminate),
            ("POST", "instances/{id}/suspend", self._suspend),
            ("POST", "instances/{id}/resume", self._resume),
            ("POST", "instances/{id}/rewind", self._rewind),
            ("POST", "instances/{id}/restart", self._restart),
        ]

    async def _start(self, request: Request, values: Mapping[str, str]) -> Response:
        name = values["name"]
        if name.casefold() not in self._orchestrators:
            known = ", ".join(sorted(self._orchestrators)) or "none"
            raise RefusedError(
                HTTPStatus.BAD_REQUEST, f"There is no orchestrator {name!r}. Known: {known}."
            )
        instance_id = await self._client.schedule_new_orchestration(
            name,
            input=await json_body(request),
            instance_id=values.get("id"),
            reuse_id_policy=_REPLACES_ENDED,
        )
        return await self._wait_or_check(request, instance_id)

    async def _wait_or_check(self, request: Request, instance_id: str) -> Response:
        """The output if the instance ends within `timeout` seconds, else where to look for it."""
        timeout = request.query_params.get("timeout", "")
        if timeout.replace(".", "", 1).isdecimal() and "pollingInterval" in request.query_params:
            try:
                state = await self._client.wait_for_orchestration_completion(
                    instance_id, timeout=float(timeout)
                )
            except TimeoutError:
                state = None
            if state is not None:
                ended = status_name(state) == "Completed"
                return JSONResponse(output_of(state) if ended else describe(state, show_input=True))
        function_request = to_function_request(request, {}, b"")
        return to_http_response(
            self._links.create_check_status_response(function_request, instance_id)
        )

    async def _status(self, request: Request, values: Mapping[str, str]) -> Response:
        state = await self._state(values["id"])
        query = request.query_params
        show_input = flag_parameter(query, "showInput", default=True)
        history: list[Json] | None = None
        if flag_parameter(query, "showHistory", default=False):
            history = describe_history(
                await self._client.get_orchestration_history(state.instance_id),
                show_input=show_input,
                show_output=flag_parameter(query, "showHistoryOutput", default=False),
            )
        code = status_code(
            state, flag_parameter(query, "returnInternalServerErrorOnFailure", default=False)
        )
        headers = (
            {"location": str(request.url), "retry-after": str(_RETRY_AFTER_SECONDS)}
            if code is HTTPStatus.ACCEPTED
            else {}
        )
        return JSONResponse(describe(state, show_input=show_input, history=history), code, headers)

    async def _list(self, request: Request, values: Mapping[str, str]) -> Response:
        query = instance_query(request.query_params, PAGE_SIZE)
        token = request.headers.get(CONTINUATION_HEADER)
        # Asked of the service itself: the client's own method reads all pages before it returns.
        page = await self._link.stub.QueryInstances(
            build_query_instances_req(query, StringValue(value=token) if token else None)
        )
        show_input = flag_parameter(request.query_params, "showInput", default=False)
        states = [parse_orchestration_state(state) for state in page.orchestrationState]
        return JSONResponse(
            [describe(state, show_input=show_input) for state in states],
            headers={CONTINUATION_HEADER: page.continuationToken.value},
        )

    async def _purge(self, request: Request, values: Mapping[str, str]) -> Response:
        state = await self._state(values["id"])
        if state.runtime_status not in ENDED:
            raise RefusedError(
                HTTPStatus.PRECONDITION_FAILED, f"The instance is {status_name(state)}: not ended."
            )
        result = await self._client.purge_orchestration(state.instance_id)
        return JSONResponse({"instancesDeleted": result.deleted_instance_count})

    async def _purge_many(self, request: Request, values: Mapping[str, str]) -> Response:
        created_from = time_parameter(request.query_params, "createdTimeFrom")
        if created_from is None:
            raise QueryError("createdTimeFrom: expected an ISO 8601 time")
        result = await self._client.purge_orchestrations_by(
            created_time_from=created_from,
            created_time_to=time_parameter(request.query_params, "createdTimeTo"),
            runtime_status=status_parameter(request.query_params),
        )
        if not result.deleted_instance_count:
            raise RefusedError(HTTPStatus.NOT_FOUND, "No instance that has ended matches.")
        return JSONResponse({"instancesDeleted": result.deleted_instance_count})

    async def _raise_event(self, request: Request, values: Mapping[str, str]) -> Response:
        state = await self._going(values["id"])
        require_json(request, "An event's data")
        await self._client.raise_orchestration_event(
            state.instance_id, values["event"], data=await json_body(request)
        )
        return Response(status_code=HTTPStatus.ACCEPTED)

    async def _terminate(self, request: Request, values: Mapping[str, str]) -> Response:
        state = await self._going(values["id"])
        await self._client.terminate_orchestration(state.instance_id, output=_reason(request))
        return Response(status_code=HTTPStatus.ACCEPTED)

    async def _suspend(self, request: Request, values: Mapping[str, str]) -> Response:
        state = await self._going(values["id"])
        await self._client.suspend_orchestration(state.instance_id, reason=_reason(request))
        return Response(status_code=HTTPStatus.ACCEPTED)

    async def _resume(self, request: Request, values: Mapping[str, str]) -> Response:
        state = await self._going(values["id"])
        await self._client.resume_orchestration(state.instance_id, reason=_reason(request))
        return Response(status_code=HTTPStatus.ACCEPTED)

    async def _rewind(self, request: Request, values: Mapping[str, str]) -> Response:
        state = await self._state(values["id"])
        if status_name(state) != "Failed":
            raise RefusedError(
                HTTPStatus.PRECONDITION_FAILED,
                f"The instance is {status_name(state)}: only a failed one can be rewound.",
            )
        await self._client.rewind_orchestration(state.instance_id, reason=_reason(request))
        return Response(status_code=HTTPStatus.ACCEPTED)

    async def _restart(self, request: Request, values: Mapping[str, str]) -> Response:
        state = await self._state(values["id"])
        instance_id = await self._client.restart_orchestration(
            state.instance_id,
            restart_with_new_instance_id=flag_parameter(
                request.query_params, "restartWithNewInstanceId", default=True
            ),
        )
        return await self._wait_or_check(request, instance_id)

    async def _state(self, instance_id: str) -> OrchestrationState:
        state = await self._client.get_orchestration_state(instance_id)
        if state is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "There is no such instance.")
        return state

    async def _going(self, instance_id: str) -> OrchestrationState:
        state = await self._state(instance_id)
        if state.runtime_status in ENDED:
            raise RefusedError(HTTPStatus.GONE, f"The instance is {status_name(state)}.")
        return state


def _reason(request: Request) -> str | None:
    return request.query_params.get("reason")


def require_json(request: Request, what: str) -> None:
    """Raises RefusedError when the body says that it is something else."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"{what} must be application/json.")


async def json_body(request: Request) -> Json:
    """The body's value; None without one. Raises RefusedError when it is no JSON."""
    body = await read_body(request, MAX_BODY_BYTES)
    try:
        value: Json = json.loads(body) if body else None
    except ValueError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "The body is not valid JSON.") from error
    return value
