"""Correlation filters: every property that is named must be equal, letter for letter."""

from __future__ import annotations

from collections.abc import Mapping

from devhost.service_bus.core.settings import Filter
from devhost.service_bus.wire.sections import Readable
from devhost.service_bus.wire.values import Value

SYSTEM_PROPERTIES = {
    "ContentType": "content_type",
    "CorrelationId": "correlation_id",
    "Label": "subject",
    "MessageId": "message_id",
    "ReplyTo": "reply_to",
    "ReplyToSessionId": "reply_to_group_id",
    "SessionId": "group_id",
    "To": "to",
}
"""Service Bus's name of a property, and AMQP's."""


def correlation_filter(system: Mapping[str, str], user: Mapping[str, str]) -> Filter:
    """`system` by the names of SYSTEM_PROPERTIES; `user` are application properties.

    The configuration can only write text, so values of other types are compared as text.
    """
    wanted = [(SYSTEM_PROPERTIES[name], value) for name, value in system.items()]

    def passes(message: Readable) -> bool:
        return all(_text(message.system.get(name)) == value for name, value in wanted) and all(
            _text(message.user.get(name)) == value for name, value in user.items()
        )

    return passes


def _text(value: Value) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)
