"""The operations of the durable HTTP API on entities.

Parameters, statuses and shapes are those of the Durable extension's HTTP API reference: "Signal
entity", "Get entity" and "List entities".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC
from http import HTTPStatus

from durabletask.client import EntityQuery
from durabletask.entities import EntityInstanceId
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal.client_helpers import build_query_entities_req
from google.protobuf.wrappers_pb2 import StringValue
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from devhost.functions_host.hub_link import HubLink
from devhost.functions_host.instance_json import (
    flag_parameter,
    payload,
    size_parameter,
    time_parameter,
)
from devhost.functions_host.instance_operations import (
    CONTINUATION_HEADER,
    PAGE_SIZE,
    Handler,
    RefusedError,
    json_body,
    require_json,
)
from devhost.functions_host.json_config import Json


class EntityOperations:
    """What can be asked of entities and told them.

    Besides RefusedError and QueryError they raise grpc.aio.AioRpcError, when the hub refuses.
    """

    def __init__(self, link: HubLink, entities: Collection[str]) -> None:
        """`entities` are the names that the app has; they match in any case."""
        self._link = link
        self._names = {name.lower() for name in entities}

    def table(self) -> list[tuple[str, str, Handler]]:
        """Method, route template below the API's root, and handler of each operation."""
        return [
            ("GET", "entities/{name?}", self._list),
            ("GET", "entities/{name}/{key}", self._get),
            ("POST", "entities/{name}/{key}", self._signal),
            ("DELETE", "entities/{name}/{key}", self._delete),
        ]

    async def _get(self, request: Request, values: Mapping[str, str]) -> Response:
        """The state. An entity without one does not exist: it was never called, or was deleted."""
        response = await self._link.stub.GetEntity(
            pb.GetEntityRequest(instanceId=str(_id(values)), includeState=True)
        )
        if not response.exists or not response.entity.serializedState.value:
            raise RefusedError(HTTPStatus.NOT_FOUND, "There is no such entity.")
        return JSONResponse(payload(response.entity.serializedState.value))

    async def _list(self, request: Request, values: Mapping[str, str]) -> Response:
        parameters = request.query_params
        name = values.get("name")
        query = EntityQuery(
            instance_id_starts_with=f"@{name.lower()}@" if name else None,
            last_modified_from=time_parameter(parameters, "lastOperationTimeFrom"),
            last_modified_to=time_parameter(parameters, "lastOperationTimeTo"),
            include_state=flag_parameter(parameters, "fetchState", default=False),
            page_size=size_parameter(parameters, PAGE_SIZE),
        )
        token = request.headers.get(CONTINUATION_HEADER)
        # Asked of the service itself: the client's own method reads all pages before it returns.
        page = await self._link.stub.QueryEntities(
            build_query_entities_req(query, StringValue(value=token) if token else None)
        )
        return JSONResponse(
            [_describe(entity, query.include_state) for entity in page.entities],
            headers={CONTINUATION_HEADER: page.continuationToken.value},
        )

    async def _signal(self, request: Request, values: Mapping[str, str]) -> Response:
        data = await json_body(request)
        if data is not None:
            require_json(request, "An operation's input")
        return await self._send(values, request.query_params.get("op", ""), data)

    async def _delete(self, request: Request, values: Mapping[str, str]) -> Response:
        return await self._send(values, "delete", None)

    async def _send(self, values: Mapping[str, str], operation: str, data: Json) -> Response:
        entity = _id(values)
        if entity.entity not in self._names:
            known = ", ".join(sorted(self._names)) or "none"
            raise RefusedError(
                HTTPStatus.NOT_FOUND, f"There is no entity {values['name']!r}. Known: {known}."
            )
        await self._link.client.signal_entity(entity, operation, data)
        return Response(status_code=HTTPStatus.ACCEPTED)


def _id(values: Mapping[str, str]) -> EntityInstanceId:
    try:
        return EntityInstanceId(values["name"], values["key"])
    except ValueError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error


def _describe(entity: pb.EntityMetadata, with_state: bool) -> dict[str, Json]:
    identity = EntityInstanceId.parse(entity.instanceId)
    last = entity.lastModifiedTime.ToDatetime(UTC).replace(tzinfo=None)
    described: dict[str, Json] = {
        "entityId": {"name": identity.entity, "key": identity.key},
        "lastOperationTime": f"{last.isoformat(timespec='microseconds')}Z",
    }
    if with_state:
        described["state"] = payload(entity.serializedState.value or None)
    return described
