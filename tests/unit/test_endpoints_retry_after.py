"""When a server says to come back: four forms, one order, sane bounds."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from endpoints.retry_after import LONGEST, SHORTEST, retry_after
from tests.unit.endpoints_fakes import NOON


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "3"}, 3.0),
        ({"Retry-After": " 3 "}, 3.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"x-ms-retry-after-ms": "1500"}, 1.5),
        ({"Retry-After": "Mon, 02 Mar 2026 12:00:30 GMT"}, 30.0),
        ({"Retry-After": "Mon, 02 Mar 2026 12:00:30 -0000"}, 30.0),
        ({"Retry-After": "Mon, 02 Mar 2026 11:00:00 GMT"}, SHORTEST),
        ({"Retry-After": "0"}, SHORTEST),
        ({"Retry-After": "86400"}, LONGEST),
        # The more exact form is read first, and a malformed one counts as absent.
        ({"retry-after-ms": "250", "x-ms-retry-after-ms": "900", "Retry-After": "7"}, 0.25),
        ({"x-ms-retry-after-ms": "900", "Retry-After": "7"}, 0.9),
        ({"retry-after-ms": "-1", "Retry-After": "7"}, 7.0),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "1e9"}, None),
        ({"Retry-After": "٣"}, None),
    ],
)
def test_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(CIMultiDict(headers), NOON) == seconds


@given(
    st.dictionaries(
        st.sampled_from(["retry-after-ms", "x-ms-retry-after-ms", "retry-after"]), st.text()
    )
)
def test_whatever_a_server_sends_is_bounded(headers: dict[str, str]) -> None:
    seconds = retry_after(CIMultiDict(headers), NOON)
    assert seconds is None or SHORTEST <= seconds <= LONGEST


@given(st.integers(min_value=1, max_value=int(LONGEST)))
def test_all_forms_of_the_same_wait_agree(seconds: int) -> None:
    date = format_datetime(NOON + timedelta(seconds=seconds), usegmt=True)
    for name, text in (
        ("retry-after-ms", str(seconds * 1000)),
        ("x-ms-retry-after-ms", str(seconds * 1000)),
        ("retry-after", str(seconds)),
        ("retry-after", date),
    ):
        read = retry_after(CIMultiDict({name: text}), NOON)
        assert read is not None
        assert math.isclose(read, seconds)


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1)))
def test_any_date_is_read(date: datetime) -> None:
    header = {"retry-after": format_datetime(date, usegmt=True)}
    assert retry_after(CIMultiDict(header), NOON) is not None
