"""One slice carried through: its lines at once, each kept as soon as it has ended.

How many lines really reach a model at a time is the deployments' limiter's to say: the lines here
wait for it. A line's place goes to the next only when what it came to is kept, so a crash costs the
lines that were under way, and no more.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from batches import results
from batches.calls import Call
from batches.checkpoint import Checkpoint
from batches.pace import Pace
from batches.results import Kept, Left
from contracts.batches import BatchLine, SliceOutcome
from contracts.calls import Booked, CallScope
from contracts.errors import (
    CallPending,
    DependencyUnavailable,
    NoCapacity,
    Overtaken,
    Retry,
    SluiceError,
)
from contracts.names import MOST_STARTS
from contracts.states import Priority
from telemetry import metrics

AT_ONCE = 160
"""Lines of a slice under way or waiting for a deployment."""
PATIENCE_SECONDS = 30.0
GATHER_SECONDS = 0.05
"""For lines to come together: an append costs the same for many as for one."""
LOOK_EVERY_SECONDS = 1.0
"""How often a slice looks whether its batch is to stop."""
GRACE_SECONDS = 4.0
"""For the lines under way when it is."""
MOST_TRIES = 6
"""Of a line that fails for now; waits for capacity are unlimited."""
LONGEST_SECONDS = 600.0
"""Of a run, after which no line is begun: the host ends what runs for longer than 30 minutes, and
the worker with it."""
WRITE_PAUSES = (0.5, 1.0, 2.0)
"""Before writing is tried again: what is to be written was paid for."""
FIRST_JUDGED = 100
"""Failed lines of a slice after which the whole batch is looked at, though its time is not come."""

FAULT = "A fault in the service. It was logged; send the line again, and tell the operator."
DIED = "The service's worker died while this line ran, and had before: it is not run again."

_log = logging.getLogger("sluice.batches")

_PACE = Pace()


@dataclass(frozen=True, slots=True)
class SliceRun:
    """What a run of a slice works with."""

    batch_id: str
    tenant: str
    call: Call
    checkpoint: Checkpoint
    stopped: Callable[[], Awaitable[bool]]
    """Whether the batch is to stop."""
    judge: Callable[[], Awaitable[None]] | None = None
    """Called now and then while lines fail: to stop the batch when too many have."""
    one_model: bool = True
    """Where one line finds no capacity, no other will."""
    weight: float = 1.0
    """Of the tenant, among those whose lines wait."""
    booked: Booked | None = None
    """What a line's calls used is kept before the line is: else a crash could leave it unpaid."""


async def carry(run: SliceRun, lines: Iterable[BatchLine]) -> SliceOutcome:
    """Run the lines that have not ended yet.

    Raises DependencyUnavailable when storage cannot be used, and Overtaken: started anew, the
    slice goes on where it was.
    """
    if await run.stopped():
        return SliceOutcome(stopped=True)
    ended = await run.checkpoint.read()
    runner = _Runner(run, [line for line in lines if line.custom_id not in ended])
    await runner.run()
    await run.checkpoint.close()
    return runner.outcome()


class _Runner:
    def __init__(self, run: SliceRun, lines: list[BatchLine]) -> None:
        self._run = run
        self._checkpoint = run.checkpoint
        self._ended_before = run.checkpoint.ended
        self._lines = lines[::-1]
        """Still to be begun, the next one last."""
        self._left = 0
        """Begun, and to be run again."""
        self._stopped = False
        self._full = False
        """No line is begun until a deployment has room again."""
        self._resume_at: datetime | None = None
        self._scopes: dict[asyncio.Task[Any] | None, CallScope] = {}
        """Of the lines that workers run now."""
        self._over_at = asyncio.get_running_loop().time() + LONGEST_SECONDS
        self._alone = run.checkpoint.starts > MOST_STARTS
        """Lines run one by one, to find the one that ends its worker."""
        self._ready: list[tuple[Kept, asyncio.Future[None]]] = []
        self._some_ready = asyncio.Event()
        self._under_way = 0
        """Lines begun, of which nothing is kept yet."""
        self._all_ready = asyncio.Event()
        """There is nothing to wait for: what is ready is all that is under way."""
        self._no_more = False
        self._judged_at = FIRST_JUDGED

    def outcome(self) -> SliceOutcome:
        return SliceOutcome(
            ended=self._checkpoint.ended - self._ended_before,
            remaining=len(self._lines) + self._left,
            stopped=self._stopped,
            resume_at=self._resume_at,
        )

    async def run(self) -> None:
        if not self._lines:
            return
        if self._alone:
            _log.error(
                "batch %s: a slice was started %d times and no line ended: they run one by one",
                self._run.batch_id,
                self._checkpoint.starts,
            )
        at_once = 1 if self._alone else min(AT_ONCE, len(self._lines))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write())
                workers = [group.create_task(self._work()) for _ in range(at_once)]
                watching = group.create_task(self._watch(workers))
                await asyncio.wait(workers)
                watching.cancel()
                self._no_more = True
                self._some_ready.set()
        except* SluiceError as errors:
            raise errors.exceptions[0] from None

    # Lines.

    async def _work(self) -> None:
        """Run one line after the other."""
        while (line := self._next()) is not None:
            self._under_way += 1
            await _PACE.turn()
            kept = await self._end(line)
            if kept is None or kept.kind == "left":
                self._left += 1
            if kept is not None:
                await self._keep(kept)
            self._under_way -= 1

    def _next(self) -> BatchLine | None:
        if not self._lines or self._stopped or self._full:
            return None
        if asyncio.get_running_loop().time() >= self._over_at:
            self._resume(datetime.now(UTC))
            return None
        return self._lines.pop()

    async def _end(self, line: BatchLine) -> Kept | None:
        """What is kept of the line; None when it is to be run again as it was."""
        run = self._run
        before = self._checkpoint.left.get(line.custom_id, Left())
        scope = CallScope(
            job_id=run.batch_id,
            tenant=run.tenant,
            priority=Priority.BATCH,
            batch_id=run.batch_id,
            weight=run.weight,
            patience=PATIENCE_SECONDS,
            handles=before.handles,
        )
        self._scopes[asyncio.current_task()] = scope
        try:
            if self._checkpoint.ended_its_worker(line.custom_id):
                raise SluiceError(DIED)
            if self._alone:
                await self._checkpoint.begin_alone(line.custom_id)
            answer = await run.call(line, scope)
        except NoCapacity as error:
            self._full = run.one_model
            self._resume(error.retry_at)
            return None
        except CallPending as error:
            self._resume(error.check_at)
            return results.left(line.custom_id, before)
        except SluiceError as error:
            return self._failed(line, before, error)
        except Exception as error:  # noqa: BLE001 - one line's fault must not end the others
            # Without the error's text, which may quote the line.
            frames = "".join(traceback.format_tb(error.__traceback__))
            _log.error("batch %s: unexpected %s\n%s", run.batch_id, type(error).__name__, frames)
            return results.refused(run.batch_id, line.custom_id, SluiceError(FAULT))
        return results.answered(
            run.batch_id, line.custom_id, answer.request_id, answer.body, answer.flow_tokens
        )

    def _failed(self, line: BatchLine, before: Left, error: SluiceError) -> Kept:
        if isinstance(error, Overtaken):
            raise error
        before.tries += 1
        if error.retry is Retry.NEVER or before.tries >= MOST_TRIES:
            return results.refused(self._run.batch_id, line.custom_id, error)
        return results.left(line.custom_id, before)

    def _resume(self, at: datetime) -> None:
        """The slice is to be run again, at the first of the times that lines name."""
        self._resume_at = min(self._resume_at or at, at)

    async def _watch(self, workers: list[asyncio.Task[None]]) -> None:
        """Stop when the batch is to stop: no line begins, and those under way have a moment."""
        while not self._stopped:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            with suppress(DependencyUnavailable):  # a look that fails is made again
                self._stopped = await self._run.stopped()
        for worker, scope in self._scopes.items():
            if worker is not None and scope.waiting:
                worker.cancel()
        await asyncio.sleep(GRACE_SECONDS)
        for worker in workers:
            worker.cancel()

    # What they came to.

    async def _keep(self, kept: Kept) -> None:
        done = asyncio.get_running_loop().create_future()
        self._ready.append((kept, done))
        self._some_ready.set()
        if len(self._ready) == self._under_way:
            self._all_ready.set()
        await done

    async def _write(self) -> None:
        """Keep what is ready, again and again, until there will be no more."""
        while not (self._no_more and not self._ready):
            await self._some_ready.wait()
            await self._gather()
            self._some_ready.clear()
            self._all_ready.clear()
            ready, self._ready = self._ready, []
            self._checkpoint.add(kept for kept, _ in ready)
            if self._run.booked is not None:
                await self._run.booked()
            await self._flush()
            await self._note()
            for kept, done in ready:
                metrics.LINES.add(1, {"sluice.kept": kept.kind})
                if not done.done():
                    done.set_result(None)

    async def _gather(self) -> None:
        """Let some lines come together, while any is still to come."""
        if self._no_more or self._all_ready.is_set():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER_SECONDS):
                await self._all_ready.wait()

    async def _flush(self) -> None:
        for pause in WRITE_PAUSES:
            try:
                return await self._checkpoint.flush()
            except Overtaken:
                raise
            except DependencyUnavailable:
                await asyncio.sleep(pause)
        return await self._checkpoint.flush()

    async def _note(self) -> None:
        """Show the progress, and have it judged."""
        judge = self._run.judge
        failing = judge is not None and self._checkpoint.failed >= self._judged_at
        if not failing and not self._checkpoint.note_due:
            return
        try:
            await self._checkpoint.put_note()
            if judge is not None and self._checkpoint.failed:
                self._judged_at = max(self._judged_at, 2 * self._checkpoint.failed)
                await judge()
        except Overtaken:
            raise
        except DependencyUnavailable:
            pass  # the next note tells more
