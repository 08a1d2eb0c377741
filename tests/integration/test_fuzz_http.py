"""Whatever is sent to the doors: a 4xx that says why, or a job; never a 5xx, a hang or growth."""

from __future__ import annotations

import json

import psutil
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MOST_GROWTH_BYTES = 80 * 2**20

TEXT = st.text(max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
NEARLY_JOBS = st.fixed_dictionaries(
    {"flow": st.sampled_from(["embed", "answer", "nope", ""]) | JSON, "input": JSON},
    optional={
        "model": JSON,
        "priority": JSON,
        "execution": JSON,
        "deadline": JSON | st.sampled_from(["PT1S", "P9999D", "2030-01-01", "-PT1S"]),
        "reply_to": JSON,
        "metadata": JSON,
    },
)
BODIES = st.binary(max_size=200) | JSON.map(json.dumps) | NEARLY_JOBS.map(json.dumps)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        name: st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)
        for name in ("Prefer", "Idempotency-Key", "Content-Type")
    },
)
PATHS = st.text(max_size=40).map(lambda text: f"/v1/jobs/{requests.utils.quote(text, safe='')}")


@pytest.fixture(scope="module")
def session(stack):
    with requests.Session() as made:
        made.headers["x-functions-key"] = stack.api_key
        yield made


def some(examples: int):
    return settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )


def fuzz_bodies(stack, session, examples: int) -> None:
    @some(examples)
    @given(body=BODIES, headers=HEADERS)
    def each(body, headers):
        data = body.encode() if isinstance(body, str) else body
        answer = session.post(f"{stack.http}/v1/jobs", data=data, headers=headers, timeout=180)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert answer.json()["detail"]

    each()


def test_bodies(stack, session):
    fuzz_bodies(stack, session, 200)


@pytest.mark.long
def test_2000_bodies_and_the_host_does_not_grow(stack, session):
    fuzz_bodies(stack, session, 200)
    host = psutil.Process(stack.pids["host"])
    before = host.memory_info().rss
    fuzz_bodies(stack, session, 2000)
    grown = host.memory_info().rss - before
    print(f"host grew by {grown / 2**20:.1f} MB over 2,000 requests")
    assert grown < MOST_GROWTH_BYTES


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_paths(stack, session, method):
    @some(100)
    @given(path=PATHS, tail=st.sampled_from(["", "/result"]))
    def each(path, tail):
        answer = session.request(method, f"{stack.http}{path}{tail}", timeout=180)
        assert answer.status_code < 500, answer.text

    each()


def test_queries(stack, session):
    @some(100)
    @given(limit=TEXT, after=TEXT)
    def each(limit, after):
        query = {"limit": limit, "after": after}
        answer = session.get(f"{stack.http}/v1/jobs", params=query, timeout=180)
        assert answer.status_code < 500, answer.text

    each()
