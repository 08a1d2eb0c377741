"""Timer triggers by a clock that the test moves."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from devhost.functions_host.app_loader import AppError
from devhost.functions_host.timer_status import TimerStatus
from devhost.functions_host.timers import TimerPump, timers_of
from tests.unit.functions_host_fakes import function, invoker

START = datetime(2024, 1, 1, tzinfo=UTC)


class Clock:
    """Stands still unless moved; sleepers wake when it has moved far enough."""

    def __init__(self):
        self.now = START

    async def sleep(self, seconds):
        until = self.now + timedelta(seconds=seconds)
        while self.now < until:
            await asyncio.sleep(0)

    async def move(self, **by):
        self.now += timedelta(**by)
        await self.settle()

    async def settle(self):
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
def clock():
    return Clock()


def pump_of(call, clock, status=None, **properties):
    timer = function(call, "timerTrigger", "timer", **properties)
    return TimerPump(
        timers_of([timer], {"EVERY": "00:01:00"}),
        invoker(),
        status or TimerStatus(None),
        now=lambda: clock.now,
        sleep=clock.sleep,
    )


async def test_a_timer_fires_when_it_is_due(clock):
    fired = []

    async def tick(timer):
        fired.append((clock.now, timer.past_due, timer.schedule_status["Next"]))

    pump = pump_of(tick, clock, schedule="0 */5 * * * *")
    await pump.start()
    await clock.settle()
    await clock.move(minutes=4, seconds=59)
    assert fired == []
    await clock.move(seconds=1)
    await clock.move(minutes=5)
    await pump.stop(1)
    await clock.move(minutes=5)
    assert [(at - START).total_seconds() / 60 for at, _, _ in fired] == [5, 10]
    assert [past_due for _, past_due, _ in fired] == [False, False]
    assert fired[0][2] == "2024-01-01T00:10:00+00:00"


async def test_a_timer_may_fire_at_start_and_take_its_schedule_from_a_setting(clock):
    fired = []

    async def tick(timer):
        fired.append(clock.now)

    pump = pump_of(tick, clock, schedule="%EVERY%", runOnStartup=True)
    await pump.start()
    await clock.settle()
    assert fired == [START]
    await clock.move(minutes=1)
    await pump.stop(1)
    assert fired == [START, START + timedelta(minutes=1)]


async def test_a_run_that_takes_too_long_is_followed_by_one_past_due(clock):
    fired = []
    release = asyncio.Event()

    async def slow(timer):
        fired.append(timer.past_due)
        if len(fired) == 1:
            await release.wait()

    pump = pump_of(slow, clock, schedule="0 * * * * *")
    await pump.start()
    await clock.settle()
    await clock.move(minutes=1)
    await clock.move(minutes=3, seconds=30)
    assert fired == [False], "a timer overlapped itself"
    release.set()
    await clock.settle()
    assert fired == [False, True]
    await clock.move(seconds=29)
    assert fired == [False, True]
    await clock.move(seconds=1)
    await pump.stop(1)
    assert fired == [False, True, False]


async def test_a_run_missed_while_the_host_was_down_is_made_up_for(clock, tmp_path):
    fired = []

    async def tick(timer):
        fired.append((timer.past_due, timer.schedule_status["Last"]))

    file = tmp_path / "state" / "timers.json"
    pump = pump_of(tick, clock, TimerStatus(file), schedule="0 0 * * * *")
    await pump.start()
    await clock.settle()
    await clock.move(hours=1)
    await pump.stop(1)
    assert json.loads(file.read_text()) == {"tick": "2024-01-01T01:00:00+00:00"}
    clock.now += timedelta(days=30)
    pump = pump_of(tick, clock, TimerStatus(file), schedule="0 0 * * * *")
    await pump.start()
    await clock.settle()
    await pump.stop(1)
    assert fired == [(False, None), (True, "2024-01-01T01:00:00+00:00")]


async def test_a_timer_follows_the_clock_when_it_is_set_and_doubles_no_run(clock):
    fired = []

    async def tick(timer):
        fired.append((clock.now, timer.past_due))

    pump = pump_of(tick, clock, schedule="0 * * * * *")
    await pump.start()
    await clock.settle()
    await clock.move(minutes=1)
    assert [past_due for _, past_due in fired] == [False]
    await clock.move(hours=1)
    assert [past_due for _, past_due in fired] == [False, True], "an hour's runs are one"
    await clock.move(hours=-1)
    await clock.move(minutes=59)
    assert len(fired) == 2, "these minutes have had their run"
    await clock.move(minutes=2)
    assert [past_due for _, past_due in fired] == [False, True, False]
    await pump.stop(0)


async def test_a_timer_goes_on_when_its_last_run_cannot_be_noted(clock, tmp_path, caplog):
    fired = []

    async def tick(timer):
        fired.append(clock.now)

    status = TimerStatus(tmp_path / "state" / "timers.json")
    (tmp_path / "state").touch()  # a file where the folder is to be
    pump = pump_of(tick, clock, status, schedule="0 * * * * *")
    await pump.start()
    await clock.settle()
    for _ in range(2):
        await clock.move(minutes=1)
    await pump.stop(0)
    assert len(fired) == 2
    assert "cannot be noted" in caplog.text


async def test_a_timer_that_raises_is_logged_and_goes_on(clock, caplog):
    async def bad(timer):
        raise RuntimeError("no tick")

    pump = pump_of(bad, clock, schedule="0 * * * * *")
    await pump.start()
    await clock.settle()
    await clock.move(minutes=1)
    await clock.move(minutes=1)
    await pump.stop(1)
    assert caplog.text.count("Timer bad raised") == 2


async def test_what_runs_when_the_host_stops_gets_the_grace(clock):
    ended = []

    async def long(timer):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    pump = pump_of(long, clock, schedule="0 * * * * *")
    await pump.start()
    await clock.settle()
    await clock.move(minutes=1)
    await pump.stop(0.01)
    assert ended == [True]


@pytest.mark.parametrize(
    ("schedule", "said"), [("%NONE%", "no app setting NONE"), ("soon", "schedule 'soon'")]
)
def test_a_timer_that_cannot_be_served_names_its_function(schedule, said):
    async def tick(timer): ...

    with pytest.raises(AppError, match=f"function tick: .*{said}"):
        timers_of([function(tick, "timerTrigger", "timer", schedule=schedule)], {})
