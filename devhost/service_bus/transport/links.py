"""What every link has in common, and how proton is told of refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from proton import Condition, Delivery, Endpoint, Link, Terminus, symbol

from devhost.service_bus.core.errors import MessageTooLarge, Refused

if TYPE_CHECKING:
    from devhost.service_bus.transport.peer import Peer

MAX_MESSAGE_BYTES = 256 * 1024
"""Of the standard tier."""
_MAX_DISCARDED = 64 * MAX_MESSAGE_BYTES


class Role(Protocol):
    """What the broker does at its end of a link."""

    def on_delivery(self, delivery: Delivery) -> None:
        """A delivery came, in whole or in part, or its outcome changed."""

    def on_flow(self) -> None:
        """The client granted credit or asked to drain it."""

    def on_closed(self) -> None:
        """The link is gone, for whatever reason."""


class Inbox:
    """Puts the parts of incoming deliveries together, without keeping what is too large."""

    def __init__(self, peer: Peer, link: Link, credit: int) -> None:
        self._peer = peer
        self._link = link
        self._parts: list[bytes] = []
        self._size = 0
        link.flow(credit)

    def take(self, delivery: Delivery) -> tuple[bytes, int] | None:
        """The message and its format once it is whole; None before and when it was aborted.

        Raises MessageTooLarge when it is whole and was too large.
        """
        if delivery.aborted:
            self._finish()
            delivery.settle()
            return None
        if not delivery.readable:
            return None
        part = self._link.recv(delivery.pending)
        self._size += len(part or b"")
        if self._size <= MAX_MESSAGE_BYTES:
            self._parts.append(bytes(part or b""))
        else:
            self._parts.clear()
        if self._size > _MAX_DISCARDED:
            raise ConnectionAbortedError(f"A message of more than {_MAX_DISCARDED} bytes.")
        if delivery.partial:
            return None
        size, raw = self._size, b"".join(self._parts)
        message_format = self._finish()
        if size > MAX_MESSAGE_BYTES:
            raise MessageTooLarge(
                f"The message has {size} bytes; the limit is {MAX_MESSAGE_BYTES} bytes."
            )
        return raw, message_format

    def _finish(self) -> int:
        self._link.advance()
        self._link.flow(1)
        self._parts.clear()
        self._size = 0
        return self._peer.frames.next_format(self._link.name)


def accept(delivery: Delivery) -> None:
    delivery.update(Delivery.ACCEPTED)
    delivery.settle()


def reject(delivery: Delivery, refused: Refused) -> None:
    delivery.local.condition = condition(refused)
    delivery.update(Delivery.REJECTED)
    delivery.settle()


def refuse(link: Link, refused: Refused) -> None:
    """Answers an attach with no terminus and a detach that says why; or ends an open link."""
    if not link.state & Endpoint.LOCAL_ACTIVE:
        link.source.type = link.target.type = Terminus.UNSPECIFIED
    link.condition = condition(refused)
    link.close()


def condition(refused: Refused) -> Condition:
    # The SDK expects the third field of an error: without an info map proton would drop it.
    return Condition(refused.condition, refused.detail, {symbol("broker"): "devhost.service_bus"})
