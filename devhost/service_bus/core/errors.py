"""What the broker refuses, by the condition that Service Bus names on the wire.

    Refused
    ├── EntityNotFound        amqp:not-found
    ├── OperationNotAllowed   amqp:not-allowed
    ├── InvalidMessage        amqp:decode-error
    ├── MessageTooLarge       amqp:link:message-size-exceeded
    ├── QuotaExceeded         amqp:resource-limit-exceeded
    ├── TooManyForwards       amqp:resource-limit-exceeded
    ├── MessageNotFound       com.microsoft:message-not-found
    ├── MessageLockLost       com.microsoft:message-lock-lost
    ├── SessionLockLost       com.microsoft:session-lock-lost
    ├── SessionCannotBeLocked com.microsoft:session-cannot-be-locked
    ├── OperationTimedOut     com.microsoft:timeout
    ├── InvalidArgument       com.microsoft:argument-error
    └── NotImplementedHere    amqp:not-implemented

`status` is the HTTP-like number that a management response carries.
"""

from __future__ import annotations

from typing import ClassVar


class Refused(Exception):
    """The root; `detail` tells the client what to change."""

    condition: ClassVar[str] = "amqp:internal-error"
    status: ClassVar[int] = 500

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class EntityNotFound(Refused):
    condition = "amqp:not-found"
    status = 404


class OperationNotAllowed(Refused):
    condition = "amqp:not-allowed"
    status = 400


class InvalidMessage(Refused):
    condition = "amqp:decode-error"
    status = 400


class MessageTooLarge(Refused):
    condition = "amqp:link:message-size-exceeded"
    status = 413


class QuotaExceeded(Refused):
    condition = "amqp:resource-limit-exceeded"
    status = 403


class TooManyForwards(Refused):
    condition = "amqp:resource-limit-exceeded"
    status = 403


class MessageNotFound(Refused):
    condition = "com.microsoft:message-not-found"
    status = 404


class MessageLockLost(Refused):
    condition = "com.microsoft:message-lock-lost"
    status = 410

    def __init__(self) -> None:
        super().__init__(
            "The lock supplied is invalid: it expired, or the message was settled already."
        )


class SessionLockLost(Refused):
    condition = "com.microsoft:session-lock-lost"
    status = 410

    def __init__(self, session_id: str) -> None:
        super().__init__(f"The lock on session '{session_id}' expired or was never held here.")


class SessionCannotBeLocked(Refused):
    condition = "com.microsoft:session-cannot-be-locked"
    status = 410

    def __init__(self, session_id: str) -> None:
        super().__init__(f"Session '{session_id}' is locked by another receiver.")


class OperationTimedOut(Refused):
    condition = "com.microsoft:timeout"
    status = 408


class InvalidArgument(Refused):
    condition = "com.microsoft:argument-error"
    status = 400


class NotImplementedHere(Refused):
    condition = "amqp:not-implemented"
    status = 501
