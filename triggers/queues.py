"""The operators' door to the queues of Service Bus: `/v1/queues`."""

from __future__ import annotations

import asyncio
import base64
from http import HTTPStatus

import azure.durable_functions as df
from starlette.responses import Response

import wiring
from contracts.audit import AuditAction
from contracts.errors import Conflict, InvalidRequest, NotFound, SluiceError
from contracts.identity import Role
from contracts.jobs import AcceptedJob
from contracts.names import REJECTED_QUEUE, REQUESTS_QUEUE, RESULTS_QUEUE
from contracts.problems import FieldProblem
from contracts.queues import (
    DeletedMessage,
    MessagePage,
    Purged,
    PurgeRequest,
    QueuedMessage,
    QueueList,
    QueueStanding,
    Resubmission,
    Waiting,
)
from stores.inspection import Inspection, KeptMessage, Place
from triggers.door import door, json_response, query_int, read_json
from triggers.http import Request
from triggers.operation import Operation, Parameter, operation
from triggers.resubmission import (
    check_standing_aside,
    is_request,
    resend_reply,
    resubmit_request,
)
from triggers.service_bus import AUTHORIZATION

bp = df.Blueprint()

QUEUES = (REQUESTS_QUEUE, RESULTS_QUEUE, REJECTED_QUEUE)
MOST_MESSAGES = 100
MOST_BODIES = 20
MOST_BODY_BYTES = 32_768
"""Shown of one body."""
MOST_PURGED = 1000
"""By one call, which should end before a front end gives up on it."""
LARGEST_SEQUENCE = 2**63 - 1

_NAME = Parameter(
    "queue", "path", "The queue's name.", {"type": "string", "enum": list(QUEUES)}, required=True
)
_SEQUENCE = Parameter(
    "sequence",
    "path",
    "The message's `sequence`.",
    {"type": "integer", "minimum": 0, "maximum": LARGEST_SEQUENCE},
    required=True,
)
_DEAD_LETTERS = Parameter(
    "dead_letters",
    "query",
    "Of the queue's dead letters in place of the queue itself.",
    {"type": "boolean", "default": False},
)
_LOOKS = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE)
_CHANGES = (*_LOOKS, HTTPStatus.CONFLICT)


@operation(
    Operation(
        method="GET",
        path="/v1/queues",
        role=Role.OPERATE,
        summary="Queues, with how much waits in each and among its dead letters.",
        responses={HTTPStatus.OK: QueueList},
        problems=(HTTPStatus.CONFLICT,),
    )
)
@bp.function_name("list_queues")
@bp.route("v1/queues", methods=["GET"])
@door(Role.OPERATE)
async def list_queues(req: Request) -> Response:
    """Every queue; one that cannot be looked at says why."""
    inspection = _inspection()
    standings = await asyncio.gather(*(_standing(inspection, name) for name in QUEUES))
    return json_response(QueueList(data=list(standings)))


@operation(
    Operation(
        method="GET",
        path="/v1/queues/{queue}/messages",
        role=Role.OPERATE,
        summary="Messages that wait, without taking them. Bodies are shown when asked for.",
        parameters=(
            _NAME,
            _DEAD_LETTERS,
            Parameter(
                "limit",
                "query",
                f"How many messages a page has; with bodies at most {MOST_BODIES}.",
                {"type": "integer", "minimum": 1, "maximum": MOST_MESSAGES, "default": 20},
            ),
            Parameter(
                "from",
                "query",
                "The first sequence number of the page: a former page's `next_from`.",
                {"type": "integer", "minimum": 0, "maximum": LARGEST_SEQUENCE, "default": 0},
            ),
            Parameter(
                "body",
                "query",
                f"Show up to {MOST_BODY_BYTES:,} bytes of each body; the audit log tells that you"
                " did.",
                {"type": "boolean", "default": False},
            ),
        ),
        responses={HTTPStatus.OK: MessagePage},
        problems=_CHANGES,
    )
)
@bp.function_name("list_messages")
@bp.route("v1/queues/{queue}/messages", methods=["GET"])
@door(Role.OPERATE)
async def list_messages(req: Request) -> Response:
    """One page, in the order of the numbers."""
    place, inspection = _place(req), _inspection()
    with_body = _flag(req, "body")
    limit = query_int(
        req, "limit", default=20, least=1, most=MOST_BODIES if with_body else MOST_MESSAGES
    )
    begin = _number("from", req.query.get("from", "0"))
    if not with_body:
        found = await inspection.page(place, begin, limit + 1)
    else:
        async with wiring.parts().audit.recorded(
            req.identity, AuditAction.MESSAGES_READ, str(place), begin=begin, limit=limit
        ):
            found = await inspection.page(place, begin, limit + 1)
    shown, more = found[:limit], found[limit:]
    return json_response(
        MessagePage(
            data=[shown_message(each, with_body=with_body) for each in shown],
            has_more=bool(more),
            next_from=more[0].sequence_number if more else None,
        )
    )


@operation(
    Operation(
        method="POST",
        path="/v1/queues/{queue}/messages/{sequence}/resubmit",
        role=Role.OPERATE,
        summary="Start what a rejected or dead-lettered message asks for, or send a reply again;"
        " then the message is removed.",
        parameters=(_NAME, _SEQUENCE, _DEAD_LETTERS),
        responses={HTTPStatus.OK: Resubmission},
        problems=(*_CHANGES, HTTPStatus.TOO_MANY_REQUESTS),
    )
)
@bp.function_name("resubmit_message")
@bp.route("v1/queues/{queue}/messages/{sequence}/resubmit", methods=["POST"])
@bp.durable_client_input(client_name="client")
@door(Role.OPERATE)
async def resubmit_message(req: Request, client: df.DurableFunctionsClient) -> Response:
    """A message that still can start nothing stays where it is, and the answer says why."""
    parts, place, sequence = wiring.parts(), _place(req), _sequence(req)
    check_standing_aside(place)
    inspection = _inspection()
    async with (
        parts.audit.recorded(req.identity, AuditAction.MESSAGE_RESUBMITTED, f"{place}/{sequence}"),
        inspection.taken(place, sequence) as message,
    ):
        told = Resubmission(
            queue=place.queue, sequence=sequence, started=None, id=None, tenant=None, sent_to=None
        )
        if is_request(place):
            accepted = await resubmit_request(parts, client, place, message)
            told.started = "job" if isinstance(accepted, AcceptedJob) else "batch"
            told.id, told.tenant = accepted.id, accepted.tenant
        else:
            told.sent_to = await resend_reply(parts, place, message)
    return json_response(told)


@operation(
    Operation(
        method="DELETE",
        path="/v1/queues/{queue}/messages/{sequence}",
        role=Role.OPERATE,
        summary="Delete a rejected or dead-lettered message.",
        parameters=(_NAME, _SEQUENCE, _DEAD_LETTERS),
        responses={HTTPStatus.OK: DeletedMessage},
        problems=_CHANGES,
    )
)
@bp.function_name("delete_message")
@bp.route("v1/queues/{queue}/messages/{sequence}", methods=["DELETE"])
@door(Role.OPERATE)
async def delete_message(req: Request) -> Response:
    """Nothing is kept of it."""
    place, sequence = _place(req), _sequence(req)
    check_standing_aside(place)
    inspection, audit = _inspection(), wiring.parts().audit
    async with (
        audit.recorded(req.identity, AuditAction.MESSAGE_DELETED, f"{place}/{sequence}"),
        inspection.taken(place, sequence),
    ):
        pass
    return json_response(DeletedMessage(queue=place.queue, sequence=sequence))


@operation(
    Operation(
        method="POST",
        path="/v1/queues/{queue}/purge",
        role=Role.OPERATE,
        summary=f"Delete up to {MOST_PURGED:,} rejected or dead-lettered messages, oldest first.",
        parameters=(_NAME, _DEAD_LETTERS),
        body=PurgeRequest,
        responses={HTTPStatus.OK: Purged},
        problems=(*_CHANGES, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    )
)
@bp.function_name("purge_queue")
@bp.route("v1/queues/{queue}/purge", methods=["POST"])
@door(Role.OPERATE)
async def purge_queue(req: Request) -> Response:
    """Ask again while there are `more`."""
    parts, place = wiring.parts(), _place(req)
    asked = await read_json(req, PurgeRequest, parts.limits.request_bytes)
    check_standing_aside(place)
    if asked.confirm != place.queue:
        raise _wrong("confirm", f"{place.queue}, since all of it is deleted")
    inspection = _inspection()
    async with parts.audit.recorded(req.identity, AuditAction.QUEUE_PURGED, str(place)):
        purged, more = await inspection.purge(place, MOST_PURGED)
    return json_response(Purged(queue=place.queue, purged=purged, more=more))


async def _standing(inspection: Inspection, name: str) -> QueueStanding:
    try:
        waiting, dead = await asyncio.gather(
            _waiting(inspection, Place(name)), _waiting(inspection, Place(name, dead_letters=True))
        )
    except SluiceError as error:
        return QueueStanding(name=name, waiting=None, dead_letters=None, problem=error.detail)
    return QueueStanding(name=name, waiting=waiting, dead_letters=dead)


async def _waiting(inspection: Inspection, place: Place) -> Waiting:
    count = await inspection.count(place)
    return Waiting(
        messages=count.messages, more=count.more, oldest_enqueued_at=count.oldest_enqueued_at
    )


def shown_message(message: KeptMessage, *, with_body: bool) -> QueuedMessage:
    """The message without what opens doors."""
    shown = QueuedMessage(
        sequence=message.sequence_number,
        message_id=message.message_id or None,
        enqueued_at=message.enqueued_time_utc,
        state=message.state,
        delivery_count=message.delivery_count,
        content_type=message.content_type,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        dead_letter_reason=message.dead_letter_reason,
        dead_letter_description=message.dead_letter_description,
        properties={
            name: "(not shown)" if name.lower() == AUTHORIZATION else value
            for name, value in message.application_properties.items()
        },
        body_bytes=len(message.body),
    )
    if with_body:
        beginning = message.body[:MOST_BODY_BYTES]
        shown.body_cut = len(message.body) > MOST_BODY_BYTES
        shown.body = _as_text(beginning, cut=shown.body_cut)
        if shown.body is None:
            shown.body_base64 = base64.b64encode(beginning).decode()
    return shown


def _as_text(data: bytes, *, cut: bool) -> str | None:
    """None where it is no UTF-8; a character that was cut through is left out."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        if not cut or error.start < len(data) - 3:
            return None
        return data[: error.start].decode()


def _inspection() -> Inspection:
    inspection = wiring.parts().inspection
    if inspection is None:
        raise Conflict("This app has no Service Bus: it has no ServiceBusConnection.")
    return inspection


def _place(req: Request) -> Place:
    name = req.route_params["queue"].lower()
    if name not in QUEUES:
        raise NotFound(f"There is no such queue here: use one of {', '.join(QUEUES)}.")
    return Place(name, dead_letters=_flag(req, "dead_letters"))


def _sequence(req: Request) -> int:
    return _number("sequence", req.route_params["sequence"])


def _number(field: str, text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= LARGEST_SEQUENCE:
        return int(text)
    raise _wrong(field, f"a whole number from 0 to {LARGEST_SEQUENCE}")


def _flag(req: Request, name: str) -> bool:
    text = req.query.get(name, "false").lower()
    if text not in ("true", "false"):
        raise _wrong(name, "true or false")
    return text == "true"


def _wrong(field: str, expected: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{field}` is not as expected: {expected}.", [FieldProblem(field=field, expected=expected)]
    )
