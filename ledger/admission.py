"""No call is made that could not be written down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from contracts.admission import Admission, Reservation
from contracts.calls import CallScope, ModelCall
from contracts.errors import NoCapacity
from ledger.ledger import Ledger

AGAIN_AFTER = timedelta(seconds=30)


class OpenBooks:
    """An `Admission`: refuses calls while the journal is full, and asks the next one."""

    def __init__(self, ledger: Ledger, then: Admission | None = None) -> None:
        self._ledger = ledger
        self._then = then

    async def reserve(self, call: ModelCall, scope: CallScope) -> Reservation | None:
        if self._ledger.full:
            raise NoCapacity(
                "Usage cannot be written down now: storage or the disk takes nothing, and no call"
                " is made until it does.",
                datetime.now(UTC) + AGAIN_AFTER,
            )
        return None if self._then is None else await self._then.reserve(call, scope)
