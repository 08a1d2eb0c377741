"""Alarms: in the order of their moments, each once, and gone when cancelled."""

from __future__ import annotations

from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from devhost.task_hub.durable.clock import SLACK, Alarms


@settings(deadline=None)
@given(moments=st.lists(st.integers(0, 50), max_size=40), now=st.integers(0, 50))
def test_what_is_due_rings_once_and_the_earliest_first(moments, now):
    alarms: Alarms[int] = Alarms()
    rung: list[int] = []
    for moment in moments:
        alarms.set(moment, partial(rung.append, moment))
    alarms.ring(now)
    assert rung == sorted(moment for moment in moments if moment <= now)
    later = [moment for moment in moments if moment > now]
    assert alarms.next() == (min(later) if later else None)


def test_a_cancelled_alarm_does_not_ring():
    alarms: Alarms[int] = Alarms()
    rung: list[int] = []
    alarms.set(1, partial(rung.append, 1), name=7)
    alarms.set(2, partial(rung.append, 2))
    alarms.cancel(7)
    assert alarms.next() == 2
    alarms.ring(5)
    assert rung == [2]


def test_cancelled_alarms_are_cleared_away():
    alarms: Alarms[int] = Alarms()
    for name in range(1, 10_000):
        alarms.set(1_000_000, lambda: None, name)
        alarms.cancel(name)
    assert len(alarms._heap) <= SLACK + 1


def test_an_earlier_alarm_is_told():
    alarms: Alarms[int] = Alarms()
    told: list[int | None] = []
    alarms.on_earlier = lambda: told.append(alarms.next())
    for moment in (5, 7, 3, 3):
        alarms.set(moment, lambda: None)
    assert told[:2] == [5, 3]
    assert 7 not in told


def test_an_alarm_set_by_another_rings_too_when_it_is_due():
    alarms: Alarms[int] = Alarms()
    rung: list[str] = []
    alarms.set(1, lambda: alarms.set(1, lambda: rung.append("second")))
    alarms.ring(1)
    assert rung == ["second"]
