"""Every system is given the same jobs, and its rates are what the times say."""

from __future__ import annotations

from itertools import count

import pytest

from tests.bench.peers import load
from tests.bench.peers.load import BURST, JOB_CASES, ONE_BY_ONE, WAITING_JOBS, WARM_UP, Job, Worker


def test_rates_are_over_the_time_from_the_first_send():
    jobs = [Job(sent=10.0 + n, accepted=10.5 + n, ended=12.0 + n) for n in range(4)]
    assert load.metrics(jobs) == {
        "accepted_per_s": pytest.approx(4 / 3.5),
        "finished_per_s": pytest.approx(4 / 5),
        "p50_ms": pytest.approx(2000),
        "p95_ms": pytest.approx(2000),
    }


def test_who_hears_of_a_job_only_at_its_end_has_no_rate_of_acceptance():
    assert "accepted_per_s" not in load.metrics([Job(0.0, 1.0), Job(0.0, 2.0)])


def test_percentiles_are_of_the_slowest_jobs():
    jobs = [Job(0.0, n / 1000) for n in range(1, 101)]
    assert load.metrics(jobs)["p50_ms"] == pytest.approx(51)
    assert load.metrics(jobs)["p95_ms"] == pytest.approx(96)


async def test_all_cases_are_measured_with_the_promised_number_of_jobs():
    called = started = 0
    seconds = count()

    async def call() -> None:
        nonlocal called
        called += 1

    async def start() -> load.Ending:
        nonlocal started
        started += 1

        async def ended() -> float:
            return load.time.time()

        return ended

    def cpu() -> dict[str, float]:
        now = next(seconds)
        return {"one": now, "two": 2 * now}

    measured = await load.measure(Worker(start, call, cpu))

    assert tuple(measured) == JOB_CASES
    assert (called, started) == (WARM_UP + ONE_BY_ONE + WAITING_JOBS, BURST)
    burst = measured[load.FLOOD]
    assert burst["two_cpu_ms"] == pytest.approx(2 * burst["one_cpu_ms"])
    assert burst["cpu_ms"] == pytest.approx(1000 * 3 / BURST)
