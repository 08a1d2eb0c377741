"""What a look at a deployment's work finds.

A look that fails says nothing of the work, which goes on meanwhile: only a deployment that answers
can say that it has ended, is gone, or may not be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from endpoints.json_body import NotJson
from endpoints.protocols.long_running import Broken, Ended, LongRunning, Working
from endpoints.verdicts import Verdict
from endpoints.wire import NoReply, Reply


@dataclass(frozen=True, slots=True)
class UnderWay:
    """It goes on, as far as is known."""

    wait: float
    """Seconds until the next look."""
    told: bool = False
    """Whether the deployment said so."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The deployment knows of no such work."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The look itself is refused: an operator must act, or it makes no sense there."""

    verdict: Verdict


type Found = UnderWay | Gone | Refused | Ended | Broken


def read(protocol: LongRunning, reply: Reply | NoReply, now: datetime) -> Found:
    """The answer to `protocol.poll`. `now` is aware; it dates a Retry-After."""
    wait = protocol.check_seconds
    if isinstance(reply, NoReply):
        return UnderWay(wait)
    if 200 <= reply.status < 300:
        return _progress(protocol, reply) if reply.body is not None else UnderWay(wait)
    if reply.status == 404:
        return Gone()
    verdict = protocol.verdict(reply, now)
    if verdict.outcome in ("unusable", "rejected"):
        return Refused(verdict)
    return UnderWay(max(wait, verdict.wait or 0.0))


def _progress(protocol: LongRunning, reply: Reply) -> Found:
    try:
        progress = protocol.progress(reply)
    except NotJson:
        return UnderWay(protocol.check_seconds)
    if isinstance(progress, Working):
        return UnderWay(protocol.check_seconds, told=True)
    return progress
