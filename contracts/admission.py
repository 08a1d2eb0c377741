"""Whether a tenant may make a call now: asked before the call, told afterwards what it used."""

from __future__ import annotations

from typing import Protocol

from contracts.calls import CallScope, ModelCall, Usage


class Reservation(Protocol):
    """What was set aside for one call. One of the two is called once, or neither, where nobody
    knows what was used: then what was set aside counts as used."""

    def settle(self, usage: Usage) -> None:
        """The call was answered, and used so much."""

    def release(self) -> None:
        """The call used nothing."""


class Admission(Protocol):
    async def reserve(self, call: ModelCall, scope: CallScope) -> Reservation | None:
        """Set aside what the call is going to use; None where nothing is limited.

        Raises NoCapacity, or a child of it, when there will be enough later, and Forbidden when
        there will not.
        """
