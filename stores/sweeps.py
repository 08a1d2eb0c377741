"""What a sweep for stuck work hands to the next one: one blob, beside the tenants' folders."""

from __future__ import annotations

import logging

from pydantic import ValidationError

from contracts.stuck import Sweep
from stores.blobs import Container

_log = logging.getLogger("sluice.stores")

NAME = "sweep.json"


class SweepStore:
    """Methods raise DependencyUnavailable when storage cannot be used."""

    def __init__(self, container: Container) -> None:
        self._blobs = container

    async def get(self) -> Sweep:
        """The last sweep; an empty one before the first."""
        stored = await self._blobs.get(NAME)
        if stored is None:
            return Sweep()
        try:
            return Sweep.model_validate_json(stored)
        except ValidationError:  # of another version of the app
            _log.warning("the last sweep cannot be read: the next one begins anew")
            return Sweep()

    async def put(self, sweep: Sweep) -> None:
        await self._blobs.put(NAME, sweep.model_dump_json().encode())
