"""The operators' door to API keys: `/v1/keys`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from http import HTTPStatus

import azure.durable_functions as df
from starlette.responses import Response

import wiring
from contracts.errors import Conflict, InvalidRequest
from contracts.identity import Role
from contracts.key_records import (
    IssuedKey,
    KeyList,
    KeyRecord,
    KeyRequest,
    RotationRequest,
)
from contracts.keys import is_key_id
from contracts.problems import FieldProblem
from policies.key_issuing import Issued, KeyIssuing, status_of
from stores.keys import StoredKey
from triggers.door import door, json_response, query_int, read_json
from triggers.http import Request
from triggers.operation import Operation, Parameter, operation
from wiring import Parts

bp = df.Blueprint()

_ID = Parameter("key_id", "path", "The key's id.", {"type": "string"}, required=True)
_FINDS = (HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE)
_CHANGES = (HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE)
_SECRET = {"Cache-Control": "no-store"}


@operation(
    Operation(
        method="POST",
        path="/v1/keys",
        role=Role.OPERATE,
        summary="Issue an API key. The answer shows it, and nothing does later.",
        body=KeyRequest,
        responses={HTTPStatus.CREATED: IssuedKey},
        response_headers={"Location": "Path of the key."},
        problems=(HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, *_CHANGES),
    )
)
@bp.function_name("issue_key")
@bp.route("v1/keys", methods=["POST"])
@door(Role.OPERATE)
async def issue_key(req: Request) -> Response:
    """Issue a key that has at most the rights of whoever asks for it."""
    parts = wiring.parts()
    issuing = _issuing(parts)
    request = await read_json(req, KeyRequest, parts.limits.request_bytes)
    _check_names(parts, request)
    return _secret(await issuing.issue(req.identity, request))


@operation(
    Operation(
        method="GET",
        path="/v1/keys",
        role=Role.OPERATE,
        summary="API keys, without what opens anything.",
        parameters=(
            Parameter("tenant", "query", "Keys of this tenant alone.", {"type": "string"}),
            Parameter(
                "limit",
                "query",
                "How many keys a page has.",
                {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
            ),
            Parameter("after", "query", "A former page's `next_after`.", {"type": "string"}),
        ),
        responses={HTTPStatus.OK: KeyList},
        problems=(HTTPStatus.BAD_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE),
    )
)
@bp.function_name("list_keys")
@bp.route("v1/keys", methods=["GET"])
@door(Role.OPERATE)
async def list_keys(req: Request) -> Response:
    """One page, in the order of the ids; keys that have ended are in it too."""
    limit = query_int(req, "limit", default=100, least=1, most=1000)
    after = req.query.get("after")
    if after is not None and not is_key_id(after):
        raise _wrong("after", "a former page's `next_after`")
    keys, more = await wiring.parts().keys.page(
        tenant=req.query.get("tenant"), after=after, most=limit
    )
    return json_response(
        KeyList(
            data=[record_of(key) for key in keys],
            has_more=more,
            next_after=keys[-1].id if more else None,
        )
    )


@operation(
    Operation(
        method="GET",
        path="/v1/keys/{key_id}",
        role=Role.OPERATE,
        summary="One API key, without what opens anything.",
        parameters=(_ID,),
        responses={HTTPStatus.OK: KeyRecord},
        problems=_FINDS,
    )
)
@bp.function_name("get_key")
@bp.route("v1/keys/{key_id}", methods=["GET"])
@door(Role.OPERATE)
async def get_key(req: Request) -> Response:
    """One key."""
    return json_response(record_of(await _reading(wiring.parts()).find(_id(req))))


@operation(
    Operation(
        method="POST",
        path="/v1/keys/{key_id}/rotate",
        role=Role.OPERATE,
        summary="Issue a key with the rights of another, which goes on for a while.",
        parameters=(_ID,),
        body=RotationRequest,
        responses={HTTPStatus.CREATED: IssuedKey},
        response_headers={"Location": "Path of the new key."},
        problems=(
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.NOT_FOUND,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            *_CHANGES,
        ),
    )
)
@bp.function_name("rotate_key")
@bp.route("v1/keys/{key_id}/rotate", methods=["POST"])
@door(Role.OPERATE)
async def rotate_key(req: Request) -> Response:
    """Both keys open the same until the old one's `revoked_at`."""
    parts = wiring.parts()
    issuing = _issuing(parts)
    request = await read_json(req, RotationRequest, parts.limits.request_bytes)
    return _secret(await issuing.rotate(req.identity, _id(req), request))


@operation(
    Operation(
        method="DELETE",
        path="/v1/keys/{key_id}",
        role=Role.OPERATE,
        summary="Revoke an API key. It is still listed.",
        parameters=(_ID,),
        responses={HTTPStatus.OK: KeyRecord},
        problems=_FINDS,
    )
)
@bp.function_name("revoke_key")
@bp.route("v1/keys/{key_id}", methods=["DELETE"])
@door(Role.OPERATE)
async def revoke_key(req: Request) -> Response:
    """Again is no error. Every worker refuses the key within half a minute."""
    return json_response(record_of(await _reading(wiring.parts()).revoke(req.identity, _id(req))))


def record_of(key: StoredKey) -> KeyRecord:
    """The key as it is shown."""
    return KeyRecord(
        id=key.id,
        status=status_of(key, datetime.now(UTC)),
        tenant=key.tenant,
        roles=sorted(key.roles),
        models=_sorted(key.models),
        flows=_sorted(key.flows),
        created_at=key.created_at,
        created_by=key.created_by,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        replaced_by=key.replaced_by,
        note=key.note,
    )


def _sorted(names: Iterable[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)


def _secret(issued: Issued) -> Response:
    record = IssuedKey(
        **record_of(issued.key).model_dump(),
        key=issued.text,
        replaces=None if issued.replaces is None else record_of(issued.replaces),
    )
    headers = {"Location": f"/v1/keys/{issued.key.id}"} | _SECRET
    return json_response(record, HTTPStatus.CREATED, headers)


def _issuing(parts: Parts) -> KeyIssuing:
    """Raises Conflict while keys open nothing."""
    if parts.identities is None:
        raise Conflict(
            "This app knows no tenants, so a key would open nothing: describe them in a"
            " tenants.yaml, and name it in SLUICE_TENANTS."
        )
    return _reading(parts)


def _reading(parts: Parts) -> KeyIssuing:
    return KeyIssuing(parts.keys, parts.audit)


def _check_names(parts: Parts, request: KeyRequest) -> None:
    if request.tenant not in parts.tenants.names:
        raise _wrong("tenant", f"one of {', '.join(parts.tenants.names)}")
    _check_known("models", request.models, parts.endpoints.models)
    _check_known("flows", request.flows, [flow.name for flow in parts.flows.infos])


def _check_known(field: str, names: Iterable[str] | None, known: Iterable[str]) -> None:
    if set(names or ()) - set(known):
        raise _wrong(field, f"names among {', '.join(known)}")


def _id(req: Request) -> str:
    return req.route_params["key_id"]


def _wrong(field: str, expected: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{field}` is not as expected: {expected}.", [FieldProblem(field=field, expected=expected)]
    )
