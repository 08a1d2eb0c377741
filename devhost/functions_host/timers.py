"""Fires timer triggers.

A timer never overlaps itself. Runs that were missed, because the host was down or the run before
took too long, are made up for by one run that is marked past due.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import azure.functions as func
from azure.functions.meta import Datum

from devhost.functions_host.app_loader import AppError, AppFunction
from devhost.functions_host.invoker import Invoker
from devhost.functions_host.schedule import Schedule, ScheduleError, parse_schedule
from devhost.functions_host.timer_status import TimerStatus

logger = logging.getLogger("sluice.functions_host")

TIMER_TRIGGER = "timerTrigger"

_LATE = timedelta(seconds=1)
# The wall clock may be set while we sleep, so sleep in short stretches.
_LONGEST_SLEEP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Timer:
    function: AppFunction
    schedule: Schedule
    run_on_startup: bool


def timers_of(functions: Iterable[AppFunction], environ: Mapping[str, str]) -> list[Timer]:
    """The app's timers. A schedule `%NAME%` is the app setting NAME. Raises AppError."""
    return [_timer(f, environ) for f in functions if f.trigger.type == TIMER_TRIGGER]


def _timer(function: AppFunction, environ: Mapping[str, str]) -> Timer:
    text = function.trigger.text("schedule") or ""
    if text.startswith("%") and text.endswith("%"):
        name = text.strip("%")
        if name not in environ:
            raise AppError(f"function {function.name}: there is no app setting {name}")
        text = environ[name]
    try:
        schedule = parse_schedule(text)
    except ScheduleError as error:
        raise AppError(f"function {function.name}: schedule {text!r}: {error}") from error
    return Timer(function, schedule, function.trigger.properties.get("runOnStartup") is True)


def _now() -> datetime:
    return datetime.now(UTC)


class TimerPump:
    """One task a timer."""

    def __init__(
        self,
        timers: list[Timer],
        invoker: Invoker,
        status: TimerStatus,
        now: Callable[[], datetime] = _now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._timers = timers
        self._invoker = invoker
        self._status = status
        self._now = now
        self._sleep = sleep
        self._tasks: list[asyncio.Task[None]] = []
        self._running: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(self._keep(timer)) for timer in self._timers]

    async def stop(self, grace: float) -> None:
        """Fire nothing more; what runs gets `grace` seconds, then it is cancelled."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _keep(self, timer: Timer) -> None:
        name = timer.function.name
        if timer.run_on_startup:
            await self._fire(timer, self._now(), past_due=False)
        last = self._status.last(name)
        due = timer.schedule.next(self._now() if last is None else last)
        while True:
            await self._sleep_until(due)
            late = self._now() - due > _LATE
            await self._fire(timer, due, past_due=late)
            self._status.record(name, due)
            missed = timer.schedule.next(due)
            made_up = not late and missed <= self._now()
            due = missed if made_up else timer.schedule.next(self._now())

    async def _sleep_until(self, due: datetime) -> None:
        while (left := (due - self._now()).total_seconds()) > 0:
            await self._sleep(min(left, _LONGEST_SLEEP_SECONDS))

    async def _fire(self, timer: Timer, due: datetime, *, past_due: bool) -> None:
        run = asyncio.create_task(self._run(timer, due, past_due))
        self._running.add(run)
        run.add_done_callback(self._running.discard)
        await asyncio.shield(run)

    async def _run(self, timer: Timer, due: datetime, past_due: bool) -> None:
        function = timer.function
        try:
            await self._invoker.call(function, self._request(timer, due, past_due))
        except Exception:
            logger.exception("Timer %s raised", function.name)

    def _request(self, timer: Timer, due: datetime, past_due: bool) -> object:
        """The trigger's value, made by the same converter as in the worker."""
        last = self._status.last(timer.function.name)
        value = {
            "IsPastDue": past_due,
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": {
                "Last": last.isoformat() if last else None,
                "LastUpdated": last.isoformat() if last else None,
                "Next": timer.schedule.next(due).isoformat(),
            },
        }
        converter = func.get_binding_registry().get(TIMER_TRIGGER)  # type: ignore[no-untyped-call]
        request: object = converter.decode(Datum(json.dumps(value), "json"), trigger_metadata={})
        return request
