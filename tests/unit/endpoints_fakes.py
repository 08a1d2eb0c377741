"""A scripted wire, and models whose deployments it plays."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from multidict import CIMultiDict
from pydantic import JsonValue

from contracts.calls import CallScope, ModelCall, Task
from contracts.states import Execution
from endpoints import Endpoints
from endpoints.clocks import Clocks
from endpoints.context import Context
from endpoints.credentials import FetchToken, Token
from endpoints.settings import Settings
from endpoints.wire import Limits, NoReply, Reply, Request

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def reply(status: int = 200, body: JsonValue = None, **headers: str) -> Reply:
    """An answer; `retry_after="3"` becomes the header retry-after."""
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return Reply(status, named, json.dumps(body).encode())


def model_error(inner: int, body: JsonValue = None, **headers: str) -> Reply:
    """A 424: what Azure ML makes of a container's answer that is not 200."""
    return reply(424, body, ms_azureml_model_error_statuscode=str(inner), **headers)


REFUSED = NoReply(sent=False, reason="connection refused")
LOST = NoReply(sent=True, reason="connection lost after the request was sent")


@dataclass
class Clock:
    """A clock that stands still until a test moves it."""

    time: datetime = NOON
    jumped: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return self.time + self.jumped

    def jump(self, seconds: float) -> None:
        """Somebody sets the clock that people read; the other one goes on."""
        self.jumped += timedelta(seconds=seconds)

    @property
    def clocks(self) -> Clocks:
        return Clocks(now=self, monotonic=self.monotonic)

    def monotonic(self) -> float:
        return (self.time - NOON).total_seconds()

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@dataclass
class Sent:
    """One request as it went out."""

    host: str
    request: Request
    headers: dict[str, str]
    limits: Limits


@dataclass
class ScriptedWire:
    """Answers each host from its own queue; an unexpected request fails the test."""

    script: dict[str, deque[Reply | NoReply]] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    seconds: float = 0.0
    """How long each request takes, on the clock."""
    closed: bool = False

    def plays(self, **script: list[Reply | NoReply]) -> None:
        self.script = {host: deque(replies) for host, replies in script.items()}

    async def send(
        self, request: Request, headers: Mapping[str, str], limits: Limits
    ) -> Reply | NoReply:
        host = request.url.host or ""
        self.sent.append(Sent(host, request, {**request.headers, **headers}, limits))
        self.clock.advance(min(self.seconds, limits.seconds))
        return self.script[host].popleft()

    async def aclose(self) -> None:
        self.closed = True

    @property
    def asked(self) -> list[str]:
        return [sent.host for sent in self.sent]


def endpoints(
    wire: ScriptedWire,
    *names: str,
    auth: dict[str, str] | None = None,
    fetch_token: FetchToken | None = None,
    **fields: object,
) -> Endpoints:
    """Model `m` with an aml_online deployment a name, at http://NAME/score, asked in that order."""
    deployments = [
        {"name": name, "protocol": "aml_online", "url": f"http://{name}/score", "priority": place}
        | ({"auth": auth} if auth else {})
        | fields
        for place, name in enumerate(names, 1)
    ]
    settings = Settings.model_validate({"models": {"m": {"deployments": deployments}}})
    context = Context(clocks=wire.clock.clocks)
    return Endpoints(settings, wire=wire, context=context, fetch_token=fetch_token or no_token)


async def no_token(scope: str) -> Token:
    raise AssertionError(f"no token of {scope} was to be asked for")


CALL = ModelCall("m", Task.SCORE, {"text": "a confidential prompt"})


def at_least_once(deadline: datetime | None = None) -> CallScope:
    return CallScope("job-1", "tenant-1", Execution.AT_LEAST_ONCE, deadline=deadline)


def at_most_once(deadline: datetime | None = None) -> CallScope:
    return CallScope("job-1", "tenant-1", Execution.AT_MOST_ONCE, deadline=deadline)


def outcomes(scope: CallScope) -> list[tuple[str, str]]:
    return [(attempt.deployment, attempt.outcome) for attempt in scope.attempts]
