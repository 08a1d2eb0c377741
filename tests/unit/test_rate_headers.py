"""OpenAI's rate-limit headers, as its clients read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import BudgetSpent, NoCapacity, QuotaReached, SluiceError
from contracts.quotas import RateStanding
from triggers.door import error_headers
from triggers.openai.errors import error_response
from triggers.openai.headers import rate_headers

STANDING = [
    RateStanding(kind="requests", limit=60, remaining=3, reset_seconds=61),
    RateStanding(kind="tokens", limit=1000, remaining=0, reset_seconds=0.25),
]


def test_of_each_kind_there_are_three():
    assert rate_headers(STANDING) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "3",
        "x-ratelimit-reset-requests": "1m1s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "250ms",
    }
    assert rate_headers([]) == {}


@given(seconds=st.floats(0, 4000))
def test_a_reset_is_never_told_too_early_nor_a_second_too_late(seconds):
    standing = RateStanding(kind="tokens", limit=1, remaining=0, reset_seconds=seconds)
    text = rate_headers([standing])["x-ratelimit-reset-tokens"]
    found = re.fullmatch(r"(?:(\d+)m)?(\d+)(ms|s)", text)
    assert found is not None
    told = int(found[1] or 0) * 60 + int(found[2]) / (1000 if found[3] == "ms" else 1)
    assert seconds - 1e-9 <= told < seconds + 1


def later(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_a_refusal_has_them_too_and_says_when_to_come_back():
    reached = QuotaReached("Wait.", later(1000.5), "requests_per_minute", STANDING)
    response = error_response(None, reached)  # type: ignore[arg-type]
    assert response.status_code == 429
    assert 990 < int(response.headers["retry-after"]) <= 1001
    assert 990_000 < int(response.headers["retry-after-ms"]) <= 1_000_500
    assert response.headers["x-ratelimit-remaining-requests"] == "3"


def test_other_doors_say_when_to_come_back_as_http_does():
    reached = QuotaReached("Wait.", later(1000.5), "requests_per_minute", STANDING)
    assert 990 < int(error_headers(reached).pop("Retry-After")) <= 1001
    assert error_headers(NoCapacity("Full.", later(-1))) == {"Retry-After": "0"}


@pytest.mark.parametrize("error", [BudgetSpent("Spent."), SluiceError("A fault.")])
def test_of_what_does_not_pass_nobody_says_when_to_come_back(error):
    assert error_headers(error) == {}
