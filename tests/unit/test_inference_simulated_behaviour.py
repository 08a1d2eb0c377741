"""What is drawn follows what was asked for, and what makes no sense is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from devhost.inference.simulated import (
    Behaviour,
    Constant,
    Drop,
    Garbage,
    Hang,
    Lognormal,
    RetryAfter,
    SlowBody,
    Status,
    Uniform,
)
from devhost.inference.simulated.behaviour import BEHAVIOUR, checked
from devhost.inference.simulated.failures import draw

ms = st.floats(0, 10_000)
above_zero = st.floats(0.001, 10_000)
shares = st.floats(1e-9, 1 - 1e-9)

latencies = st.one_of(
    st.builds(Constant, ms),
    st.tuples(ms, ms).map(lambda pair: Uniform(*sorted(pair))),
    st.tuples(above_zero, above_zero).map(lambda pair: Lognormal(*sorted(pair))),
)
retry_afters = st.none() | st.builds(
    RetryAfter,
    st.floats(0, 1_000),
    st.sampled_from(["retry-after", "retry-after-ms", "x-ms-retry-after-ms"]),
)
common = {
    "probability": st.floats(0, 0.2),
    "seconds": st.none() | st.floats(0.001, 1_000),
    "after_ms": st.none() | ms,
}
failures = st.one_of(
    st.builds(Status, st.integers(400, 599), retry_after=retry_afters, **common),
    st.builds(
        Status,
        st.just(424),
        model_status=st.none() | st.integers(100, 599),
        model_reason=st.none() | st.sampled_from(["overloaded", "CUDA out of memory"]),
        **common,
    ),
    st.builds(Hang, **common),
    st.builds(Drop, when=st.sampled_from(["before", "during"]), **common),
    st.builds(Garbage, content=st.sampled_from(["truncated", "not_json", "wrong_json"]), **common),
    st.builds(SlowBody, piece_bytes=st.integers(1, 99), pause_ms=ms, **common),
)
behaviours = st.builds(
    Behaviour,
    latency=latencies,
    workers=st.none() | st.integers(1, 99),
    capacity=st.none() | st.integers(0, 99),
    requests_per_minute=st.none() | st.floats(0.1, 1_000),
    tokens_per_minute=st.none() | st.floats(0.1, 1_000),
    burst_seconds=st.floats(0.1, 60),
    retry_after=retry_afters,
    completion_tokens=st.integers(1, 1_000),
    failures=st.lists(failures, max_size=5).map(tuple),
)


@given(latency=latencies, one=shares, other=shares)
def test_latency_never_falls_as_the_share_grows(latency, one, other):
    low, high = sorted((one, other))
    assert 0 <= latency.at(low) <= latency.at(high) * (1 + 1e-9)


@given(pair=st.tuples(ms, ms), share=shares)
def test_uniform_latency_is_spread_evenly_between_its_ends(pair, share):
    low, high = sorted(pair)
    assert Uniform(low, high).at(share) == pytest.approx(low + share * (high - low))


@given(pair=st.tuples(above_zero, above_zero))
def test_lognormal_latency_has_the_quantiles_that_name_it(pair):
    p50, p95 = sorted(pair)
    latency = Lognormal(p50, p95)
    assert latency.at(0.5) == pytest.approx(p50)
    assert latency.at(0.95) == pytest.approx(p95)
    # The curve is even around the median, on a logarithmic scale.
    assert latency.at(0.05) == pytest.approx(p50 * p50 / p95)


@given(drawn=st.lists(failures, max_size=5))
def test_each_failure_strikes_its_share(drawn):
    steps = 1_000
    struck = [draw(drawn, step / steps) for step in range(steps)]
    for failure in drawn:
        share = sum(each is failure for each in struck) / steps
        assert share == pytest.approx(failure.probability, abs=2 / steps)
    none = sum(each is None for each in struck) / steps
    rest = 1 - sum(failure.probability for failure in drawn)
    assert none == pytest.approx(rest, abs=2 / steps)


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_certain_failure_always_strikes_and_an_impossible_one_never(share):
    certain = Hang(probability=1)
    assert draw([Drop(probability=0), certain], share) is certain
    assert draw([Drop(probability=0)], share) is None


@given(behaviour=behaviours)
def test_a_behaviour_comes_through_the_door_as_it_was(behaviour):
    assert BEHAVIOUR.validate_json(BEHAVIOUR.dump_json(behaviour)) == behaviour
    assert checked(behaviour) == behaviour


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ('{"latencies": {}}', "latencies"),
        ('{"latency": {"ms": 1}}', "latency"),
        ('{"latency": {"kind": "constant", "ms": -1}}', "ms"),
        ('{"latency": {"kind": "uniform", "low_ms": 2, "high_ms": 1}}', "low_ms is above"),
        ('{"latency": {"kind": "lognormal", "p50_ms": 0, "p95_ms": 1}}', "p50_ms is not"),
        ('{"capacity": -1}', "capacity"),
        ('{"workers": 0}', "workers"),
        ('{"requests_per_minute": 0}', "requests_per_minute"),
        ('{"failures": [{"kind": "status", "status": 200}]}', "status"),
        ('{"failures": [{"kind": "hang", "probability": 1.1}]}', "probability"),
        ('{"failures": [{"kind": "hang", "seconds": 0}]}', "seconds"),
        ('{"failures": [{"kind": "hang"}, {"kind": "drop", "probability": 0.1}]}', "sum to more"),
        ('{"failures": [{"kind": "status", "status": 500, "model_status": 4}]}', "model_status"),
        (
            '{"failures": [{"kind": "status", "status": 500, "model_status": 400}]}',
            "only a 424 has a model_status",
        ),
        (
            '{"failures": [{"kind": "status", "status": 424, "model_reason": "a\\r\\nb: c"}]}',
            "model_reason",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(asked, field):
    with pytest.raises(ValidationError, match=field):
        BEHAVIOUR.validate_json(asked)


def test_a_behaviour_made_in_python_is_checked_too():
    with pytest.raises(ValidationError, match="capacity"):
        checked(Behaviour(capacity=-1))
    with pytest.raises(ValidationError, match="probability"):
        checked(Behaviour(failures=(Hang(probability=-1),)))


@pytest.mark.parametrize(
    ("header", "seconds", "said"),
    [
        ("retry-after", 2, "2"),
        ("retry-after", 0.2, "1"),
        ("retry-after-ms", 0.2, "200"),
        ("x-ms-retry-after-ms", 1.0001, "1001"),
    ],
)
def test_a_wait_is_rounded_up_to_the_unit_of_its_header(header, seconds, said):
    assert RetryAfter(header=header).line(seconds) == (header, said)
