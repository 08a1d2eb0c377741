"""Personal data on its way to a deployment that is not trusted with it."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from pydantic import JsonValue


class PersonalData(StrEnum):
    """What a deployment may be sent, as deployments.yaml says."""

    ALLOWED = "allowed"
    REDACTED = "redacted"
    """Calls go there with placeholders in the place of personal data."""
    REFUSED = "refused"
    """Calls with personal data go elsewhere."""


class EventRewriter(Protocol):
    """Whole server-sent events in, as they arrive; whole events out, some of them later."""

    def feed(self, events: bytes) -> bytes:
        """Nothing, while what came may still turn out to be a part of something."""

    def end(self) -> bytes:
        """What was kept back."""


class Redacted(Protocol):
    """A call's payload without what was found in it. Knows what that was: never to be stored."""

    payload: JsonValue

    def restored(self, answer: JsonValue) -> JsonValue:
        """The answer as its caller is to see it."""

    def rewriter(self) -> EventRewriter | None:
        """As `restored`, for an answer in events; None when they pass as they are."""


class Redaction(Protocol):
    async def redacted(self, payload: JsonValue, tenant: str) -> Redacted | None:
        """None when nothing of the kinds that the tenant names is found in the payload.

        Raises Misconfigured when it cannot be searched: then it must not be sent either.
        """
