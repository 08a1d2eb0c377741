"""One sweep: look for what makes no progress, tell of it once, and act by policy.

A sweep looks at a bounded number of things and takes a bounded time; the next one goes on where it
ended. What it knows is in one blob, so any worker may have the next.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import batched

from contracts.errors import DependencyUnavailable
from contracts.ids import is_batch_id, time_of
from contracts.stuck import Deed, Nudge, Stuck, StuckKind, StuckPolicy, Sweep
from policies.stuck.engine import Engine, Seen
from policies.stuck.rules import Looked, StuckRules, batch_overdue, judge
from stores.jobs import JobStore
from telemetry import stuck as telemetry

_log = logging.getLogger("sluice.stuck")

AT_ONCE = 16
"""Things that are looked at together."""
MOST_LOOKED_AT = 2_000
LONGEST_SECONDS = 120.0
MOST_KEPT = 1_000
"""Of what was found; what has been stuck for longest is kept."""
MOST_DEEDS = 5_000
LOOKED_BACK = timedelta(days=1)
"""Before the first sweep, and after a long time without any."""
LONGEST_SPAN = timedelta(hours=1)
"""Of jobs' acceptance, looked for lost ones in one sweep."""
FAULTS_TOLD = timedelta(days=7)


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Found:
    """A stuck thing, and what else was seen of it."""

    stuck: Stuck
    looked: Looked | None = None
    is_new: bool = False
    """It was not so at the last sweep, or has made progress since."""


class Sweeper:
    """One sweep."""

    def __init__(
        self,
        jobs: JobStore,
        engine: Engine,
        rules: StuckRules,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._jobs = jobs
        self._engine = engine
        self._rules = rules
        self._now = now()
        self._until = time.monotonic() + LONGEST_SECONDS
        self._before = Sweep()
        self._told: dict[str, Stuck] = {}
        self._deeds: dict[str, Deed] = {}
        self._complete = True
        self._found: dict[str, Found] = {}

    async def go(self) -> Sweep:
        """Raises DependencyUnavailable, with nothing done: the next sweep begins where this did."""
        self._before = await self._jobs.sweeps.get()
        self._told = {each.id: each for each in self._before.found}
        self._deeds = dict(self._before.deeds)
        looked_after = await self._find_idle()
        for seen in await self._engine.faulted(self._now - FAULTS_TOLD):
            self._add(seen.id, (StuckKind.FAULTED, seen.updated_at))
        accepted_until = await self._find_lost()
        for found in self._found.values():
            await self._treat(found)
        kept = sorted((each.stuck for each in self._found.values()), key=lambda each: each.since)
        sweep = Sweep(
            swept_at=self._now,
            complete=self._complete and len(kept) <= MOST_KEPT,
            found=kept[:MOST_KEPT],
            looked_after=looked_after,
            accepted_until=accepted_until,
            deeds=dict(list(self._deeds.items())[-MOST_DEEDS:]),
        )
        await self._jobs.sweeps.put(sweep)
        return sweep

    # Finding.

    async def _find_idle(self) -> str:
        """Of what is under way; the id to go on after."""
        idle = []
        for seen in await self._engine.under_way():
            if is_batch_id(seen.id):
                # It waits for its lanes, and is asked about its end alone.
                if (since := batch_overdue(time_of(seen.id), self._now)) is not None:
                    self._add(seen.id, (StuckKind.OVERDUE, since))
            elif self._now - seen.updated_at <= self._rules.grace:
                continue
            elif seen.begun:
                idle.append(seen)
            elif self._now - seen.updated_at > self._rules.after:
                self._add(seen.id, (StuckKind.NOT_BEGUN, seen.updated_at))
        return await self._each(_turned(idle, self._before.looked_after), self._look)

    async def _look(self, seen: Seen) -> None:
        looked = await self._engine.look(seen.id)
        judged = None if looked is None else judge(looked, self._rules, self._now)
        if looked is not None and judged is not None:
            self._add(seen.id, judged, looked.tenant, looked)

    async def _each(self, things: list[Seen], look: Callable[[Seen], Awaitable[None]]) -> str:
        """Look at as many as there is time for. What is left is taken to be as it was."""
        left = things[MOST_LOOKED_AT:]
        last = ""
        for some in batched(things[:MOST_LOOKED_AT], AT_ONCE, strict=False):
            if time.monotonic() > self._until:
                left += some
                continue
            await asyncio.gather(*(look(each) for each in some))
            last = some[-1].id
        for each in left:
            if (told := self._told.get(_thing(each.id))) is not None:
                self._found[told.id] = Found(told)
        self._complete = self._complete and not left
        return last if left else ""

    async def _find_lost(self) -> datetime:
        """Jobs that were accepted and are not known; until when they were looked for."""
        newest = self._now - self._rules.after
        since = max(self._before.accepted_until or newest - LOOKED_BACK, newest - LOOKED_BACK)
        until = max(since, min(newest, since + LONGEST_SPAN))
        self._complete = self._complete and until == newest
        told = [each for each in self._told.values() if each.kind is StuckKind.LOST]
        for each in told:
            if await self._jobs.has(each.tenant or "", each.id):
                await self._check_known(each.tenant or "", each.id)
        for tenant in sorted(await self._jobs.tenants()):
            names = await self._jobs.without_result(tenant, since, until)
            for some in batched(names, AT_ONCE, strict=False):
                if time.monotonic() > self._until:  # the span is gone through again
                    self._complete = False
                    return since
                await asyncio.gather(*(self._check_known(tenant, each) for each in some))
        return until

    async def _check_known(self, tenant: str, job_id: str) -> None:
        if not await self._engine.knows(job_id):
            self._add(job_id, (StuckKind.LOST, time_of(job_id)), tenant)

    def _add(
        self,
        instance: str,
        judged: tuple[StuckKind, datetime],
        tenant: str | None = None,
        looked: Looked | None = None,
    ) -> None:
        thing, (kind, since) = _thing(instance), judged
        told = self._told.get(thing)
        before = told if told is not None and (told.kind, told.since) == judged else None
        stuck = Stuck(
            what="batch" if is_batch_id(thing) else "job",
            id=thing,
            tenant=tenant or (told.tenant if told else None),
            kind=kind,
            since=since,
            found_at=before.found_at if before else self._now,
            did=before.did if before else None,
        )
        self._found[thing] = Found(stuck, looked, is_new=before is None)

    # What is done.

    async def _treat(self, found: Found) -> None:
        stuck = found.stuck
        if found.is_new:
            telemetry.found(stuck)
            _log.warning(
                "%s %s is stuck: %s since %s",
                stuck.what,
                stuck.id,
                stuck.kind,
                stuck.since.isoformat(timespec="seconds"),
            )
        if stuck.what == "job" and stuck.did is None:
            try:
                stuck.did = await self._act(found)
            except DependencyUnavailable:  # it may have ended meanwhile; else the next one tries
                _log.warning("job %s cannot be told", stuck.id)
            if stuck.did is not None:
                self._deeds.pop(stuck.id, None)
                self._deeds[stuck.id] = stuck.did
                _log.warning("job %s was %s", stuck.id, stuck.did)

    async def _act(self, found: Found) -> Deed | None:
        """By policy. A job is started again once."""
        stuck, looked, policy = found.stuck, found.looked, self._rules.policy
        if policy is StuckPolicy.REPORT:
            return None
        may_retry = policy is StuckPolicy.RETRY and stuck.id not in self._deeds
        match stuck.kind:
            case StuckKind.OVERDUE if looked is not None:
                await self._engine.nudge(stuck.id, Nudge(step=looked.step, to="expire"))
                return "failed"
            case StuckKind.SILENT if looked is not None and not looked.has_outcome:
                to: Deed = "retried" if may_retry else "failed"
                nudge = Nudge(step=looked.step, to="again" if may_retry else "fail")
                await self._engine.nudge(stuck.id, nudge)
                return to
            case StuckKind.FAULTED if may_retry:  # else it has failed already
                await self._engine.restart(stuck.id)
                return "retried"
            case StuckKind.LOST if may_retry and stuck.tenant is not None:
                job = await self._jobs.get_request(stuck.tenant, stuck.id)
                if job is not None:
                    await self._engine.start(job)
                    return "retried"
        return None


def _turned(things: list[Seen], after: str) -> list[Seen]:
    """In the order of their ids, from the one after `after` on, and round."""
    ordered = sorted(things, key=lambda each: each.id)
    begin = next((i for i, each in enumerate(ordered) if each.id > after), 0)
    return ordered[begin:] + ordered[:begin]


def _thing(instance: str) -> str:
    """The job or batch that an orchestration is of: a lane is of its batch."""
    batch, lane, _ = instance.partition("-lane-")
    return batch if lane else instance
