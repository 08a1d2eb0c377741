"""A client's sender: what it sends goes into a queue or topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proton import Delivery, Link

from devhost.service_bus.core.entities import Entity
from devhost.service_bus.core.errors import InvalidMessage, Refused
from devhost.service_bus.transport.links import MAX_MESSAGE_BYTES, Inbox, accept, reject
from devhost.service_bus.wire.frames import BATCH_FORMAT
from devhost.service_bus.wire.sections import parse, split_batch
from devhost.service_bus.wire.values import CodecError

if TYPE_CHECKING:
    from devhost.service_bus.transport.peer import Peer

_CREDIT = 1000


class Producer:
    def __init__(self, peer: Peer, link: Link, entity: Entity) -> None:
        self._entity = entity
        link.max_message_size = MAX_MESSAGE_BYTES
        link.open()
        self._inbox = Inbox(peer, link, _CREDIT)

    def on_delivery(self, delivery: Delivery) -> None:
        try:
            taken = self._inbox.take(delivery)
            if taken is None:
                return
            raw, message_format = taken
            messages = split_batch(raw) if message_format == BATCH_FORMAT else [raw]
            self._entity.send([parse(message) for message in messages])
        except CodecError as error:
            reject(delivery, InvalidMessage(str(error)))
        except Refused as refused:
            reject(delivery, refused)
        else:
            accept(delivery)

    def on_flow(self) -> None:
        pass

    def on_closed(self) -> None:
        pass
