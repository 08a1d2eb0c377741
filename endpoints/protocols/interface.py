"""The one interface behind which each kind of deployment stands."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from pydantic import JsonValue

from contracts.calls import ModelCall, Task, Usage
from endpoints.verdicts import Verdict
from endpoints.wire import Reply, Request


class DeploymentProtocol(Protocol):
    """How one kind of deployment is spoken to. Made once a deployment; holds no state of calls."""

    @property
    def tasks(self) -> frozenset[Task]:
        """What a deployment of this kind can be asked to do."""
        ...

    def request(self, call: ModelCall) -> Request:
        """Build the request, without credentials.

        `call.task` is one of `tasks`. Raises InvalidRequest for a payload it cannot carry.
        """
        ...

    def streaming_request(self, call: ModelCall) -> Request:
        """As `request`, for an answer as server-sent events.

        Raises InvalidRequest where this kind of deployment cannot stream.
        """
        ...

    def health(self) -> Request | None:
        """A GET whose 2xx means "ready to serve", without credentials.

        None where the serving system has no such probe, or only one that costs as a call does.
        """
        ...

    def authorization(self, secret: str) -> tuple[str, str]:
        """Name and value of the header that carries a key or a token."""
        ...

    def answer(self, reply: Reply) -> JsonValue:
        """Read a 2xx. Raises NotJson; `reply.body` is never None here."""
        ...

    def verdict(self, reply: Reply, now: datetime) -> Verdict:
        """Classify a reply that is not a 2xx."""
        ...

    def usage(self, answer: JsonValue) -> Usage:
        """What the answer says was consumed; zeros where it does not say."""
        ...
