"""When timers are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devhost.functions_host.schedule import Cron, ScheduleError, parse_schedule


def after(schedule: str, moment: str, times: int = 1) -> list[str]:
    parsed = parse_schedule(schedule)
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    found = []
    for _ in range(times):
        at = parsed.next(at)
        found.append(f"{at:%Y-%m-%d %H:%M:%S}")
    return found


@pytest.mark.parametrize(
    ("schedule", "moment", "due"),
    [
        # The examples of the Azure documentation
        ("0 */5 * * * *", "2024-01-01 00:01:00", ["2024-01-01 00:05:00", "2024-01-01 00:10:00"]),
        ("0 0 * * * *", "2024-01-01 00:00:00", ["2024-01-01 01:00:00"]),
        ("0 0 */2 * * *", "2024-01-01 00:00:00", ["2024-01-01 02:00:00"]),
        ("0 0 9-17 * * *", "2024-01-01 17:00:00", ["2024-01-02 09:00:00"]),
        ("0 30 9 * * *", "2024-01-01 09:30:00", ["2024-01-02 09:30:00"]),
        ("0 30 9 * * 1-5", "2024-01-05 10:00:00", ["2024-01-08 09:30:00"]),
        ("0 30 9 * Jan Mon", "2024-01-29 09:30:00", ["2025-01-06 09:30:00"]),
        # Others
        ("*/20 * * * * *", "2024-01-01 00:00:59", ["2024-01-01 00:01:00", "2024-01-01 00:01:20"]),
        ("5/20 0 0 * * *", "2024-01-01 00:00:05", ["2024-01-01 00:00:25", "2024-01-01 00:00:45"]),
        ("0 0 0 1,15 * *", "2024-01-02 00:00:00", ["2024-01-15 00:00:00", "2024-02-01 00:00:00"]),
        ("0 0 0 31 * *", "2024-01-31 00:00:00", ["2024-03-31 00:00:00", "2024-05-31 00:00:00"]),
        ("0 0 0 29 2 *", "2024-03-01 00:00:00", ["2028-02-29 00:00:00"]),
        ("0 0 0 29 2 MON", "2024-03-01 00:00:00", ["2044-02-29 00:00:00"]),
        ("0 0 0 13 * FRI", "2024-01-01 00:00:00", ["2024-09-13 00:00:00"]),  # both must match
        ("30 4 * * *", "2024-01-01 00:00:00", ["2024-01-01 04:30:00"]),  # five fields
        ("59 59 23 31 12 *", "2024-01-01 00:00:00", ["2024-12-31 23:59:59"]),
        ("00:05:00", "2024-01-01 00:01:30", ["2024-01-01 00:06:30", "2024-01-01 00:11:30"]),
        ("1.00:00:01", "2024-01-01 00:00:00", ["2024-01-02 00:00:01"]),
    ],
)
def test_examples(schedule, moment, due):
    assert after(schedule, moment, len(due)) == due


def test_a_moment_within_a_second_is_followed_by_the_next_second():
    moment = datetime(2024, 1, 1, 0, 0, 0, 1, UTC)
    assert parse_schedule("* * * * * *").next(moment) == datetime(2024, 1, 1, 0, 0, 1, tzinfo=UTC)


def test_a_moment_of_another_zone_is_understood():
    moment = datetime(2024, 1, 1, 2, 0, tzinfo=timezone(timedelta(hours=2)))
    assert parse_schedule("0 0 1 * * *").next(moment) == datetime(2024, 1, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("", "expected six fields"),
        ("* * * *", "expected six fields"),
        ("60 * * * * *", "second: expected 0 to 59, got '60'"),
        ("0 x * * * *", "minute: expected 0 to 59, got 'x'"),
        ("0 0 0 0 * *", "day: expected 1 to 31, got '0'"),
        ("0 0 0 * 13 *", "month: expected 1 to 12, got '13'"),
        ("0 0 0 * * 7", "day-of-week: expected 0 to 6, got '7'"),
        ("0 5-2 * * * *", "minute '5-2': 5 comes after 2"),
        ("0 */0 * * * *", "minute: expected a step above zero, got '0'"),
        ("0 , * * * *", "minute: expected 0 to 59, got ''"),
        ("0 0 0 30 2 *", "no such date ever comes"),
        ("00:00:00", "a time span above zero"),
        ("24:00:00", "hours up to 23"),
    ],
)
def test_what_is_no_schedule_is_said(schedule, said):
    with pytest.raises(ScheduleError) as raised:
        parse_schedule(schedule)
    assert said in str(raised.value)


def fields(low: int, high: int):
    value = st.integers(low, high)
    step = st.integers(1, high - low).map(lambda n: f"*/{n}")
    pair = st.tuples(value, value).map(lambda p: f"{min(p)}-{max(p)}")
    parts = st.lists(st.one_of(value.map(str), step, pair), min_size=1, max_size=3)
    return st.one_of(st.just("*"), parts.map(",".join))


expressions = st.tuples(
    fields(0, 59), fields(0, 59), fields(0, 23), st.just("*"), fields(1, 12), fields(0, 6)
).map(" ".join)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


def lets_through(cron: Cron, at: datetime) -> bool:
    return (
        at.second in cron.seconds
        and at.minute in cron.minutes
        and at.hour in cron.hours
        and at.day in cron.days
        and at.month in cron.months
        and at.isoweekday() % 7 in cron.weekdays
    )


@given(expressions, moments)
def test_the_next_time_is_later_lets_every_field_through_and_skips_none(expression, moment):
    cron = parse_schedule(expression)
    due = cron.next(moment)
    assert due > moment
    assert due.microsecond == 0
    assert lets_through(cron, due)
    before = due - timedelta(seconds=1)
    for _ in range(200):  # no second shortly before it would have done
        if before <= moment:
            break
        assert not lets_through(cron, before)
        before -= timedelta(seconds=1)


@given(st.text(alphabet="0123456789*/,-:. MONJAN", max_size=30))
def test_no_text_breaks_the_parser(text):
    try:
        schedule = parse_schedule(text)
    except ScheduleError:
        return
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    assert schedule.next(moment) > moment
