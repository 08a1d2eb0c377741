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
from dataclasses import dataclass
from datetime import datetime

from batches import results
from batches.calls import Call
from batches.checkpoint import Checkpoint
from batches.results import Ended
from contracts.batches import BatchLine, SliceOutcome
from contracts.calls import CallScope
from contracts.errors import CallPending, DependencyUnavailable, NoCapacity, Retry, SluiceError
from contracts.states import Priority

AT_ONCE = 160
"""Lines of a slice under way or waiting for a deployment."""
PATIENCE_SECONDS = 30.0
LOOK_EVERY_SECONDS = 1.0
"""How often a slice looks whether its batch is to stop."""
GRACE_SECONDS = 4.0
"""For the lines under way when it is."""
FEWEST_FOR_A_SHARE = 100
"""Lines that have ended, before the share of failed ones says anything."""


FAULT = "A fault in the service. It was logged; send the line again, and tell the operator."

_log = logging.getLogger("sluice.batches")


@dataclass(frozen=True, slots=True)
class SliceRun:
    """What a run of a slice works with."""

    batch_id: str
    tenant: str
    call: Call
    checkpoint: Checkpoint
    stopped: Callable[[], Awaitable[bool]]
    """Whether the batch is to stop."""
    hopeless: Callable[[], Awaitable[None]]
    """Called when too large a share of the lines has failed."""
    max_failed_share: float | None = None
    last_round: bool = False
    """Lines that still fail for now are written as failed."""


async def carry(run: SliceRun, lines: Iterable[BatchLine]) -> SliceOutcome:
    """Run the lines that have not ended yet.

    Raises DependencyUnavailable when storage cannot be used, and Overtaken: started anew, the
    slice goes on where it was.
    """
    done = await run.checkpoint.read()
    runner = _Runner(run, [line for line in lines if line.custom_id not in done])
    try:
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(runner.work()) for _ in range(min(AT_ONCE, runner.to_do))]
            helpers = [group.create_task(runner.write()), group.create_task(runner.watch(workers))]
            await asyncio.wait(workers) if workers else None
            for helper in helpers:
                helper.cancel()
    except* SluiceError as errors:
        raise errors.exceptions[0] from None
    await run.checkpoint.describe()
    return runner.outcome()


class _Runner:
    def __init__(self, run: SliceRun, lines: list[BatchLine]) -> None:
        self._run = run
        self._lines = lines[::-1]
        """Still to be begun, the next one last."""
        self._left = 0
        self._stopped = False
        self._resume_at: datetime | None = None
        """When a deployment has room again: till then no line is begun."""
        self._look_at: datetime | None = None
        """When a model may have ended what it works on beyond this run."""
        self._ready: list[tuple[Ended, asyncio.Future[None]]] = []
        self._some_ready = asyncio.Event()
        self._hopeless = False

    @property
    def to_do(self) -> int:
        return len(self._lines)

    def outcome(self) -> SliceOutcome:
        return SliceOutcome(
            remaining=len(self._lines) + self._left,
            stopped=self._stopped,
            resume_at=self._resume_at or self._look_at,
        )

    async def work(self) -> None:
        """Run one line after the other."""
        while self._lines and not self._stopped and self._resume_at is None:
            line = self._lines.pop()
            ended = await self._end(line)
            if ended is None:
                self._left += 1
            else:
                await self._keep(ended)

    async def write(self) -> None:
        """Append what is ready, again and again."""
        while True:
            await self._some_ready.wait()
            self._some_ready.clear()
            ready, self._ready = self._ready, []
            await self._run.checkpoint.write([ended for ended, _ in ready])
            for _, kept in ready:
                if not kept.done():
                    kept.set_result(None)
            await self._judge()

    async def watch(self, workers: list[asyncio.Task[None]]) -> None:
        """Stop when the batch is to stop, at first gently."""
        while True:
            if await self._run.stopped():
                break
            await asyncio.sleep(LOOK_EVERY_SECONDS)
        self._stopped = True
        await asyncio.sleep(GRACE_SECONDS)
        for worker in workers:
            worker.cancel()

    async def _keep(self, ended: Ended) -> None:
        kept = asyncio.get_running_loop().create_future()
        self._ready.append((ended, kept))
        self._some_ready.set()
        await kept

    async def _end(self, line: BatchLine) -> Ended | None:
        """What the line came to; None when it is to be run again."""
        run = self._run
        scope = CallScope(
            job_id=run.batch_id,
            tenant=run.tenant,
            priority=Priority.BATCH,
            patience=PATIENCE_SECONDS,
        )
        try:
            answer = await run.call(line, scope)
        except DependencyUnavailable:
            raise
        except NoCapacity as error:
            self._resume_at = max(self._resume_at or error.retry_at, error.retry_at)
            return None
        except CallPending as error:
            self._look_at = max(self._look_at or error.check_at, error.check_at)
            return None
        except SluiceError as error:
            if error.retry is not Retry.NEVER and not run.last_round:
                return None
            return results.refused(run.batch_id, line.custom_id, error)
        except Exception as error:  # noqa: BLE001 - one line's fault must not end the others
            # Without the error's text, which may quote the line.
            frames = "".join(traceback.format_tb(error.__traceback__))
            _log.error("batch %s: unexpected %s\n%s", run.batch_id, type(error).__name__, frames)
            return results.refused(run.batch_id, line.custom_id, SluiceError(FAULT))
        return results.answered(
            run.batch_id, line.custom_id, answer.request_id, answer.body, answer.tokens
        )

    async def _judge(self) -> None:
        """Whether so many lines have failed that the others had better not be paid for."""
        run, checkpoint = self._run, self._run.checkpoint
        ended = checkpoint.completed + checkpoint.failed
        if self._hopeless or run.max_failed_share is None or ended < FEWEST_FOR_A_SHARE:
            return
        if checkpoint.failed / ended >= run.max_failed_share:
            self._hopeless = True
            await run.hopeless()
