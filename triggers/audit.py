"""The operators' door to the audit log: `/v1/audit`."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus

import azure.durable_functions as df
from starlette.responses import Response

import wiring
from contracts.audit import AuditAction, AuditPage
from contracts.errors import InvalidRequest
from contracts.identity import Role
from contracts.ids import is_audit_id
from contracts.problems import FieldProblem
from stores.audit import AuditQuery
from triggers.door import door, json_response, query_int
from triggers.http import Request
from triggers.operation import Operation, Parameter, operation
from triggers.period import period_parameters, query_period

bp = df.Blueprint()

DEFAULT_PERIOD = timedelta(days=30)
LONGEST_PERIOD = timedelta(days=366)
"""Each day of it is a listing of its own."""
DEFAULT_LIMIT = 100
MOST = 1000
ACTIONS = tuple(AuditAction)


@operation(
    Operation(
        method="GET",
        path="/v1/audit",
        role=Role.OPERATE,
        summary="Who did what, newest first.",
        parameters=(
            *period_parameters(DEFAULT_PERIOD),
            Parameter("tenant", "query", "What callers of this tenant did.", {"type": "string"}),
            Parameter(
                "action",
                "query",
                "Events of one kind alone.",
                {"type": "string", "enum": list(ACTIONS)},
            ),
            Parameter(
                "limit",
                "query",
                "How many events a page has.",
                {"type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT_LIMIT},
            ),
            Parameter("after", "query", "A former page's `next_after`.", {"type": "string"}),
        ),
        responses={HTTPStatus.OK: AuditPage},
        problems=(HTTPStatus.BAD_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE),
    )
)
@bp.function_name("list_audit_events")
@bp.route("v1/audit", methods=["GET"])
@door(Role.OPERATE)
async def list_audit_events(req: Request) -> Response:
    """One page of events."""
    limit = query_int(req, "limit", default=DEFAULT_LIMIT, least=1, most=MOST)
    period = query_period(req, default=DEFAULT_PERIOD, longest=LONGEST_PERIOD)
    asked = AuditQuery(
        since=period.since,
        until=period.until,
        tenant=req.query.get("tenant"),
        action=_action(req),
        after=_after(req),
    )
    events, more = await wiring.parts().audit.page(asked, limit)
    return json_response(
        AuditPage(data=events, has_more=more, next_after=events[-1].id if more else None)
    )


def _action(req: Request) -> AuditAction | None:
    text = req.query.get("action")
    if text is None:
        return None
    if text not in ACTIONS:
        raise _wrong("action", f"one of {', '.join(ACTIONS)}")
    return AuditAction(text)


def _after(req: Request) -> str | None:
    text = req.query.get("after")
    if text is not None and not is_audit_id(text):
        raise _wrong("after", "a former page's `next_after`")
    return text


def _wrong(field: str, expected: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{field}` is not as expected: {expected}.", [FieldProblem(field=field, expected=expected)]
    )
