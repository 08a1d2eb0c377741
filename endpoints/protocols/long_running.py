"""What a deployment's protocol has besides, when a call outlasts any one request.

The call is submitted under a name, then looked at until it has ended: endpoints/long_running.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pydantic import JsonValue

from contracts.calls import ModelCall
from endpoints.protocols.interface import DeploymentProtocol
from endpoints.wire import Reply, Request


@dataclass(frozen=True, slots=True)
class Working:
    """The deployment has not ended what it works on."""


@dataclass(frozen=True, slots=True)
class Ended:
    """It has ended it, with this answer."""

    answer: JsonValue


@dataclass(frozen=True, slots=True)
class Broken:
    """It will never end it. `reason` is made of our own words, statuses and codes."""

    reason: str
    cancelled: bool = False
    """Somebody ended it on purpose: it is not to be begun again."""


type Progress = Working | Ended | Broken


@runtime_checkable
class LongRunning(DeploymentProtocol, Protocol):
    """Requests are built without credentials, as everywhere."""

    @property
    def check_seconds(self) -> float:
        """Between two looks."""
        ...

    @property
    def longest_seconds(self) -> float:
        """What has not ended this long after its submission is given up."""
        ...

    @property
    def cancel_scope(self) -> str | None:
        """Of the token that `cancel` needs, where it is not that of the calls."""
        ...

    def submit(self, call: ModelCall, name: str) -> Request:
        """Raises InvalidRequest for a payload it cannot carry."""
        ...

    def handle(self, reply: Reply) -> str:
        """The name under which it was taken, which need not be ours. Reads a 2xx.

        Raises NotJson when it tells none.
        """
        ...

    def poll(self, name: str) -> Request:
        """Ask how far it is."""
        ...

    def progress(self, reply: Reply) -> Progress:
        """Read a 2xx to `poll`. Raises NotJson."""
        ...

    def cancel(self, name: str) -> Request | None:
        """None where nothing can be cancelled, or not as the deployment is configured."""
        ...
