"""Comparisons of mirrored calls, as far as they are worth keeping: the latest of each model.

In the container, `MODEL/SEGMENT`: an append blob for each ten minutes, a line a comparison. The
number of a segment counts down, so that the newest is listed first. Bounded each way: what waits
to be written, what a segment holds, and how many segments are kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextvars import Context
from datetime import UTC, datetime

from contracts.deployments import Comparison
from contracts.errors import DependencyUnavailable
from stores.blobs import Container

_log = logging.getLogger("sluice.stores")

SEGMENT_SECONDS = 600
SEGMENT_BYTES = 1_000_000
"""Some 3,000 comparisons. What comes beyond it in these ten minutes is not kept."""
MOST_SEGMENTS = 144
"""A day's, while there are calls."""
MOST_WAITING = 1_000
"""Of one model, to be written; the oldest are dropped."""
PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 60.0
"""Between tries while storage cannot be used."""

_LAST_SEGMENT = 10**9


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ComparisonStore:
    """Written in the background: whoever adds a comparison never waits."""

    def __init__(
        self,
        container: Container,
        *,
        now: Callable[[], datetime] = _utc_now,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._blobs = container
        self._now = now
        self._pause = pause_seconds
        self._waiting: dict[str, deque[Comparison]] = {}
        self._segments: dict[str, int] = {}
        """The one that was written last, by model."""
        self._writer: asyncio.Task[None] | None = None
        self._failing = False

    def add(self, comparison: Comparison) -> None:
        """Keep it soon. Raises nothing."""
        waiting = self._waiting.setdefault(comparison.model, deque(maxlen=MOST_WAITING))
        waiting.append(comparison)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(
                self._write_all(), name="comparisons", context=Context()
            )

    async def latest(self, model: str, most: int) -> list[Comparison]:
        """The newest first. Raises DependencyUnavailable when storage cannot be used."""
        prefix = _prefix(model)
        page = await self._blobs.page(prefix, token=None, most=MOST_SEGMENTS)
        found: list[Comparison] = []
        for segment in page.names:
            lines = (await self._blobs.get(prefix + segment) or b"").splitlines()
            newest = sorted(
                (Comparison.model_validate_json(line) for line in lines),
                key=lambda comparison: comparison.at,
                reverse=True,
            )
            found += newest
            if len(found) >= most:
                break
        return found[:most]

    async def aclose(self) -> None:
        """Write nothing more."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)

    async def _write_all(self) -> None:
        """Until nothing waits."""
        pause = self._pause
        while any(self._waiting.values()):
            await asyncio.sleep(pause)  # what comes together is written together
            try:
                for model in list(self._waiting):
                    await self._write(model)
            except DependencyUnavailable:
                self._told("Comparisons cannot be written now: the oldest will be dropped")
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                self._failing = False
                pause = self._pause

    async def _write(self, model: str) -> None:
        batch, self._waiting[model] = self._waiting[model], deque(maxlen=MOST_WAITING)
        if not batch:
            return
        number = int(self._now().timestamp()) // SEGMENT_SECONDS
        lines = b"".join(each.model_dump_json().encode() + b"\n" for each in batch)
        name = f"{_prefix(model)}{_LAST_SEGMENT - number:09d}"
        try:
            await self._blobs.append(name, lines, most_bytes=SEGMENT_BYTES)
        except BaseException:
            batch.extend(self._waiting[model])  # what came meanwhile
            self._waiting[model] = batch
            raise
        if self._segments.get(model) != number:
            self._segments[model] = number
            await self._drop_old(model)

    async def _drop_old(self, model: str) -> None:
        prefix = _prefix(model)
        newest = await self._blobs.page(prefix, token=None, most=MOST_SEGMENTS)
        if newest.token is None:
            return
        old = await self._blobs.page(prefix, token=newest.token, most=MOST_SEGMENTS)
        for segment in old.names:
            await self._blobs.delete(prefix + segment)

    def _told(self, text: str) -> None:
        if not self._failing:
            _log.warning("%s", text)
        self._failing = True


def _prefix(model: str) -> str:
    return model.replace("/", "~") + "/"
