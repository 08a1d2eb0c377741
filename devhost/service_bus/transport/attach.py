"""What a new link is for, by its direction and its address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from proton import Link

from devhost.service_bus.transport.address import CBS_NODE, managed_entity, node_of
from devhost.service_bus.transport.consumers import SESSION_FILTER, Consumer
from devhost.service_bus.transport.links import Role
from devhost.service_bus.transport.producers import Producer
from devhost.service_bus.transport.requesters import Requester
from devhost.service_bus.transport.session_waits import (
    DEFAULT_TIMEOUT,
    TIMEOUT_PROPERTY,
    SessionWait,
)

if TYPE_CHECKING:
    from devhost.service_bus.transport.peer import Peer

_MAX_TIMEOUT = 24 * 60 * 60 * 1000


def role_for(peer: Peer, link: Link) -> Role | None:
    """The role of a link, which is opened here unless it waits. Raises Refused.

    None for the link that answers go out on: it only has to be there.
    """
    terminus = link.remote_source if link.is_sender else link.remote_target
    node = node_of(terminus.address)
    entity = managed_entity(node)
    if entity is not None or node.lower() == CBS_NODE:
        return _request_link(peer, link, node, entity)
    if link.is_receiver:
        return Producer(peer, link, peer.server.broker.target(node))
    return _receiver(peer, link, node)


def _request_link(peer: Peer, link: Link, node: str, entity: str | None) -> Role | None:
    if entity is not None:
        peer.server.broker.managed(entity)
    if link.is_receiver:
        return Requester(peer, link, node, entity)
    peer.responders[link.session, node.lower()] = link
    link.open()
    return None


def _receiver(peer: Peer, link: Link, node: str) -> Role:
    broker = peer.server.broker
    filters = _map(link.remote_source.filter)
    if SESSION_FILTER not in filters:
        return Consumer(peer, link, broker.plain_queue(node))
    queue = broker.session_queue(node)
    session_id = filters[SESSION_FILTER]
    if isinstance(session_id, str):
        return Consumer(peer, link, queue, queue.lock_session(session_id))
    session = queue.lock_session(None)
    if session is not None:
        return Consumer(peer, link, queue, session)
    return SessionWait(peer, link, queue, _timeout(link))


def _timeout(link: Link) -> int:
    properties = link.remote_properties
    value = properties.get(TIMEOUT_PROPERTY) if isinstance(properties, Mapping) else None
    return min(value, _MAX_TIMEOUT) if isinstance(value, int) else DEFAULT_TIMEOUT


def _map(data: object) -> Mapping[object, object]:
    """A map that proton decoded lazily; empty when the client sent none."""
    data.rewind()  # type: ignore[attr-defined]
    value = data.get_object() if data.next() is not None else None  # type: ignore[attr-defined]
    return value if isinstance(value, Mapping) else {}
