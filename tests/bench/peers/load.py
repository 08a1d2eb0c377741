"""The same jobs for every system: what is asked, how it is sent, what the times come to.

Standard library alone: the peers' programs import it under their own interpreter.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

TEXT = "Say something nice. " * 10
"""A job's input; the model's answer to it is the job's result."""

WARM_UP = 50
ONE_BY_ONE = 40
WAITING_CALLERS = 8
WAITING_JOBS = 200
SUBMITTERS = 32
BURST = 300

ALONE = "1 caller that waits for each result"
CALLERS = f"{WAITING_CALLERS} callers that wait for each result"
FLOOD = f"a burst of {BURST} from {SUBMITTERS} submitters"
JOB_CASES = (ALONE, CALLERS, FLOOD)
FAN_OUT = "one fan-out of 1,000"
FAN_OUT_WIDTH = 1000

type Metrics = dict[str, float]

type Ending = Callable[[], Awaitable[float]]
"""Waits for a job's end; says when it was, as time.time() does."""


@dataclass(frozen=True, slots=True)
class Worker:
    """How jobs are given to a system."""

    start: Callable[[], Awaitable[Ending]]
    """Returns once the system has accepted a job."""
    call: Callable[[], Awaitable[object]]
    """Returns with the result of a job."""
    cpu_seconds: Callable[[], dict[str, float]]
    """CPU time that each of the system's processes has used until now."""


@dataclass(frozen=True, slots=True)
class Job:
    """Times of one job, in seconds as time.time() counts them."""

    sent: float
    ended: float
    accepted: float | None = None
    """None where the caller hears of a job only when it has ended."""


async def measure(worker: Worker) -> dict[str, Metrics]:
    """Metrics by case, the same cases for every system."""
    await _waiting(worker, WAITING_CALLERS, WARM_UP)
    return {
        ALONE: await _waiting(worker, 1, ONE_BY_ONE),
        CALLERS: await _waiting(worker, WAITING_CALLERS, WAITING_JOBS),
        FLOOD: await _burst(worker, SUBMITTERS, BURST),
    }


async def _waiting(worker: Worker, callers: int, count: int) -> Metrics:
    """Callers who each send the next job when they have the result of the last one."""

    async def one() -> Job:
        sent = time.time()
        await worker.call()
        return Job(sent, time.time())

    before = worker.cpu_seconds()
    jobs = await _spread(one, callers, count)
    return metrics(jobs) | _cpu(before, worker.cpu_seconds(), count)


async def _burst(worker: Worker, submitters: int, count: int) -> Metrics:
    """All jobs are sent as fast as they are accepted; only then are their ends looked at."""

    async def one() -> tuple[float, float, Ending]:
        sent = time.time()
        ending = await worker.start()
        return sent, time.time(), ending

    before = worker.cpu_seconds()
    started = await _spread(one, submitters, count)
    # The last one first, so that a system that has to be asked is not asked while it works; and
    # what it costs to ask about each job is no part of its work.
    _, _, last = started[-1]
    await last()
    after = worker.cpu_seconds()
    jobs = [Job(sent, await ending(), accepted) for sent, accepted, ending in started]
    return metrics(jobs) | _cpu(before, after, count)


def _cpu(before: dict[str, float], after: dict[str, float], jobs: int) -> Metrics:
    """CPU time of one job, in all and by process."""
    used = {name: 1000 * (after[name] - before[name]) / jobs for name in after}
    parts = {f"{name}_cpu_ms": used[name] for name in used} if len(used) > 1 else {}
    return {"cpu_ms": sum(used.values()), **parts}


async def _spread[T](one: Callable[[], Awaitable[T]], hands: int, count: int) -> list[T]:
    """`count` runs, `hands` at a time."""
    done: list[T] = []
    left = iter(range(count))

    async def hand() -> None:
        for _ in left:
            done.append(await one())

    await asyncio.gather(*(hand() for _ in range(hands)))
    return done


def metrics(jobs: list[Job]) -> Metrics:
    """Rates are over the time from the first send; latencies from a job's send to its end."""
    began = min(job.sent for job in jobs)
    accepted = [job.accepted for job in jobs if job.accepted is not None]
    latencies = sorted(1000 * (job.ended - job.sent) for job in jobs)
    rate = {"accepted_per_s": len(accepted) / (max(accepted) - began)} if accepted else {}
    return rate | {
        "finished_per_s": len(jobs) / (max(job.ended for job in jobs) - began),
        "p50_ms": latencies[len(latencies) // 2],
        "p95_ms": latencies[len(latencies) * 95 // 100],
    }


def own_cpu() -> dict[str, float]:
    """For systems that are one process, which gives the jobs too."""
    return {"process": time.process_time()}
