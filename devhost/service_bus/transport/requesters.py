"""A client's request link: each request gets its answer on the paired link of the session."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from proton import Delivery, Link

from devhost.service_bus.core.errors import InvalidArgument, InvalidMessage, Refused
from devhost.service_bus.transport.links import Inbox, accept, reject
from devhost.service_bus.transport.management import answer
from devhost.service_bus.wire.requests import (
    CBS,
    MANAGEMENT,
    Request,
    Response,
    encode_response,
    parse_request,
)
from devhost.service_bus.wire.values import CodecError

if TYPE_CHECKING:
    from devhost.service_bus.transport.peer import Peer

_CREDIT = 100


class Requester:
    def __init__(self, peer: Peer, link: Link, node: str, entity: str | None) -> None:
        self._peer = peer
        self._link = link
        self._node = node.lower()
        self._entity = entity
        link.open()
        self._inbox = Inbox(peer, link, _CREDIT)

    def on_delivery(self, delivery: Delivery) -> None:
        try:
            taken = self._inbox.take(delivery)
            if taken is None:
                return
            request = parse_request(taken[0])
        except CodecError as error:
            reject(delivery, InvalidMessage(str(error)))
        except Refused as refused:
            reject(delivery, refused)
        else:
            accept(delivery)
            self._respond(request, self._answer(request))

    def on_flow(self) -> None:
        pass

    def on_closed(self) -> None:
        pass

    def _answer(self, request: Request) -> Response:
        if self._entity is None:
            # Tokens are not checked: the broker only listens on this machine.
            return Response(202, "Accepted")
        try:
            return answer(self._peer, self._entity, request)
        except CodecError as error:
            refused: Refused = InvalidArgument(str(error))
        except Refused as raised:
            refused = raised
        return Response(refused.status, refused.detail, condition=refused.condition)

    def _respond(self, request: Request, response: Response) -> None:
        responder = self._peer.responders.get((self._link.session, self._node))
        if responder is None:
            return  # the client closed it: nobody waits for the answer
        delivery = responder.delivery(uuid4().bytes)
        dialect = CBS if self._entity is None else MANAGEMENT
        responder.stream(encode_response(request, response, dialect))
        responder.advance()
        delivery.settle()
