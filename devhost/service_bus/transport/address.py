"""Where a link leads: the clients of Service Bus write the same node in several ways."""

from __future__ import annotations

CBS_NODE = "$cbs"
_MANAGEMENT = "/$management"


def node_of(address: str | None) -> str:
    """'amqps://localhost:5672/orders' as 'orders'; the node keeps its case."""
    _, scheme, rest = (address or "").partition("://")
    path = rest.partition("/")[2] if scheme else address or ""
    return path.strip("/")


def managed_entity(node: str) -> str | None:
    """The entity whose management node this is; None when it is none."""
    if not node.lower().endswith(_MANAGEMENT):
        return None
    return node[: -len(_MANAGEMENT)]
