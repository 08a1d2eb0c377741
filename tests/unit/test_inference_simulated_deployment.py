"""What becomes of requests under a behaviour, and when it changes; in virtual time."""

from __future__ import annotations

import asyncio
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from devhost.inference.simulated import (
    Behaviour,
    Constant,
    Drop,
    Hang,
    Lognormal,
    RetryAfter,
    Status,
    Uniform,
)
from devhost.inference.simulated.answers import read
from devhost.inference.simulated.deployment import Course, Deployment
from tests.unit.virtual_time import run_in_virtual_time

ASKED = read("chat", b'{"messages": []}')


def now() -> float:
    return asyncio.get_running_loop().time()


class Client:
    """Sends requests to a deployment, without HTTP; keeps when each ended and how."""

    def __init__(self, seed: int = 1) -> None:
        self.deployment = Deployment("a", Random(seed))
        self.ended: list[tuple[int, float, str]] = []
        """Number of the request, when, and how."""
        self.sent: list[asyncio.Task[None]] = []

    def send(self, count: int = 1) -> None:
        for _ in range(count):
            taken = self.deployment.arrive(ASKED)
            self.sent.append(asyncio.create_task(self._go(len(self.sent), taken)))

    async def _go(self, number, taken) -> None:
        if not isinstance(taken, Course):
            self.ended.append((number, now(), "refused"))
            return
        try:
            await taken.due()
        except asyncio.CancelledError:
            taken.end(answered=False)
            raise
        taken.end(answered=True)
        self.ended.append((number, now(), taken.failure.kind if taken.failure else "answered"))

    def hows(self) -> list[str]:
        return [how for _, _, how in sorted(self.ended)]

    async def all_end(self) -> None:
        await asyncio.gather(*self.sent, return_exceptions=True)


async def passes(seconds: float) -> None:
    await asyncio.sleep(seconds)


@given(workers=st.integers(1, 8), sent=st.integers(0, 40), milliseconds=st.integers(1, 5_000))
@settings(deadline=None)
def test_beyond_the_workers_requests_wait_their_turn(workers, sent, milliseconds):
    async def main():
        client = Client()
        client.deployment.set(Behaviour(latency=Constant(milliseconds), workers=workers))
        client.send(sent)
        await client.all_end()
        return client.ended

    ended = run_in_virtual_time(main())
    assert len(ended) == sent
    for number, moment, how in sorted(ended):
        turn = number // workers + 1
        assert abs(moment - turn * milliseconds / 1_000) < 1e-6
        assert how == "answered"


@given(capacity=st.integers(0, 10), sent=st.integers(0, 30))
@settings(deadline=None)
def test_beyond_the_capacity_requests_are_refused_at_once(capacity, sent):
    async def main():
        client = Client()
        client.deployment.set(Behaviour(latency=Constant(1_000), capacity=capacity))
        client.send(sent)
        state = client.deployment.state()
        await client.all_end()
        assert client.deployment.state().most_in_flight == state.most_in_flight
        return client.ended, state

    ended, state = run_in_virtual_time(main())
    inside = min(capacity, sent)
    assert (state.in_flight, state.most_in_flight) == (inside, inside)
    assert state.counts.refused == sent - inside
    assert [moment for _, moment, how in ended if how == "refused"] == [0] * (sent - inside)
    assert sum(how == "answered" for _, _, how in ended) == inside


def test_what_is_inside_ends_under_the_behaviour_it_began_with():
    async def main():
        client = Client()
        client.deployment.set(Behaviour(latency=Constant(10_000)))
        client.send()
        client.deployment.set(Behaviour(failures=(Status(503, after_ms=4_000),)))
        client.send()
        client.deployment.set(Behaviour(latency=Constant(1_000)))
        client.send()
        await client.all_end()
        return client.ended

    ended = run_in_virtual_time(main())
    assert ended == [(2, 1.0, "answered"), (1, 4.0, "status"), (0, 10.0, "answered")]


def test_a_failure_heals_by_itself_and_the_others_stay():
    async def main():
        client = Client()
        failures = (Status(500, probability=0.5, seconds=5), Drop(probability=0.5))
        client.deployment.set(Behaviour(capacity=9, failures=failures))
        await passes(4.9)
        before = client.deployment.state()
        client.send(3)
        await passes(0.2)
        after = client.deployment.state()
        await client.all_end()
        return failures, before, after

    failures, before, after = run_in_virtual_time(main())
    assert before.behaviour == Behaviour(capacity=9, failures=failures)
    assert after.behaviour == Behaviour(capacity=9, failures=failures[1:])
    assert after.arrived_since_change == 0
    assert after.counts.arrived == 3


def test_a_changed_behaviour_is_not_healed_by_what_was_set_before():
    async def main():
        client = Client()
        client.deployment.set(Behaviour(failures=(Hang(seconds=5),)))
        await passes(4)
        client.send()
        client.deployment.set(Behaviour(failures=(Hang(seconds=5),)))
        client.send()
        await passes(2)
        unchanged = client.deployment.state().arrived_since_change
        await client.all_end()
        return client.ended, unchanged

    ended, unchanged = run_in_virtual_time(main())
    assert ended == [(0, 4.0, "hang"), (1, 9.0, "hang")]  # set anew, the first is let go
    assert unchanged == 1


def test_the_line_goes_on_when_something_else_is_changed():
    async def main():
        client = Client()
        client.deployment.set(Behaviour(latency=Constant(1_000), workers=1))
        client.send(2)
        client.deployment.set(Behaviour(latency=Constant(500), workers=1))
        client.send()
        client.deployment.set(Behaviour(latency=Constant(500), workers=2))
        client.send()
        await client.all_end()
        return client.ended

    ended = run_in_virtual_time(main())
    assert [(number, moment) for number, moment, _ in ended] == [(3, 0.5), (0, 1), (1, 2), (2, 2.5)]


def test_a_hang_lasts_until_it_heals_and_not_until_another_does():
    async def main():
        client = Client()
        hang = Hang(probability=1, seconds=8)
        client.deployment.set(Behaviour(failures=(hang, Drop(probability=0, seconds=3))))
        client.send(2)
        await passes(5)
        hung = client.deployment.state()
        await client.all_end()
        return client.ended, hung, client.deployment.state()

    ended, hung, after = run_in_virtual_time(main())
    assert (hung.in_flight, hung.counts.failed) == (2, {})
    assert ended == [(0, 8.0, "hang"), (1, 8.0, "hang")]
    assert (after.in_flight, after.counts.failed) == (0, {"hang": 2})


def test_a_client_that_goes_frees_its_place_in_line():
    async def main():
        client = Client()
        client.deployment.set(Behaviour(latency=Constant(1_000), workers=1))
        client.send(4)
        await passes(0.5)
        client.sent[0].cancel()
        client.sent[2].cancel()
        await client.all_end()
        return client.ended, client.deployment.state()

    ended, state = run_in_virtual_time(main())
    assert ended == [(1, 1.5, "answered"), (3, 2.5, "answered")]
    assert (state.in_flight, state.counts.answered, state.counts.abandoned) == (0, 2, 2)


def test_failures_with_a_delay_of_their_own_take_no_worker():
    async def main():
        client = Client()
        failures = (Status(504, probability=0.5, after_ms=100),)
        client.deployment.set(Behaviour(latency=Constant(1_000), workers=1, failures=failures))
        client.send(20)
        await client.all_end()
        return client.ended

    ended = run_in_virtual_time(main())
    failed = [moment for _, moment, how in ended if how == "status"]
    answered = [round(moment, 6) for _, moment, how in ended if how == "answered"]
    assert failed == [0.1] * len(failed)
    assert answered == list(range(1, 21 - len(failed)))
    assert failed and answered


def test_rate_limits_refuse_and_say_when_there_is_room():
    async def main(**limits):
        client = Client()
        client.deployment.set(Behaviour(burst_seconds=2, **limits))
        client.send(9)
        refusal = client.deployment.arrive(ASKED)
        await passes(float(dict(refusal.headers)["retry-after-ms"]) / 1_000)
        client.send()
        await client.all_end()
        return client.hows(), refusal.status

    ms = RetryAfter(header="retry-after-ms")
    hows, status = run_in_virtual_time(main(requests_per_minute=120, retry_after=ms))
    assert hows == ["answered"] * 4 + ["refused"] * 5 + ["answered"]
    assert status == 429
    each = ASKED.prompt_tokens + 54
    hows, _ = run_in_virtual_time(main(tokens_per_minute=each * 90, retry_after=ms))
    assert hows == ["answered"] * 3 + ["refused"] * 6 + ["answered"]


def test_a_change_elsewhere_does_not_refill_a_rate_limit_and_a_new_limit_begins_full():
    async def main():
        client = Client()
        limit = {"requests_per_minute": 60, "burst_seconds": 3}
        client.deployment.set(Behaviour(**limit))
        client.send(3)
        client.deployment.set(Behaviour(**limit, latency=Constant(1)))
        client.send()
        client.deployment.set(Behaviour(**limit | {"burst_seconds": 2}))
        client.send(3)
        await client.all_end()
        return client.hows()

    answered, refused = ["answered"], ["refused"]
    assert run_in_virtual_time(main()) == answered * 3 + refused + answered * 2 + refused


@given(seed=st.integers(0, 1_000))
@settings(deadline=None, max_examples=20)
def test_with_one_seed_everything_is_drawn_again(seed):
    async def main():
        client = Client(seed)
        failures = (Status(500, probability=0.3), Drop(probability=0.3))
        client.deployment.set(Behaviour(latency=Lognormal(100, 900), failures=failures))
        client.send(30)
        await client.all_end()
        return client.ended

    assert run_in_virtual_time(main()) == run_in_virtual_time(main())


some_behaviours = st.builds(
    Behaviour,
    latency=st.sampled_from([Constant(), Constant(700), Uniform(0, 3_000)]),
    workers=st.none() | st.integers(1, 3),
    capacity=st.none() | st.integers(0, 6),
    requests_per_minute=st.none() | st.just(60),
    failures=st.sampled_from(
        [
            (),
            (Status(503, probability=0.5, seconds=1),),
            (Hang(probability=0.5, seconds=2), Drop(probability=0.5)),
            (Status(504, after_ms=900),),
        ]
    ),
)
steps = st.one_of(
    st.tuples(st.just("send"), st.integers(1, 5)),
    st.tuples(st.just("go"), st.integers(0, 50)),
    st.tuples(st.just("pass"), st.floats(0, 2)),
    st.tuples(st.just("set"), some_behaviours),
)


@given(script=st.lists(steps, max_size=30))
@settings(deadline=None)
def test_every_request_is_counted_once_whatever_happens(script):
    async def main():
        client = Client()
        deployment = client.deployment

        def nothing_is_lost():
            counts = deployment.state().counts
            ended = counts.answered + counts.refused + counts.abandoned
            ended += sum(counts.failed.values())
            assert counts.arrived == len(client.sent) == ended + deployment.in_flight
            assert 0 <= deployment.in_flight <= deployment.most_in_flight

        for what, how in script:
            if what == "send":
                client.send(how)
            elif what == "go" and client.sent:
                await asyncio.sleep(0)  # a task that has not begun would not see it
                client.sent[how % len(client.sent)].cancel()
                await asyncio.sleep(0)
            elif what == "pass":
                await passes(how)
            elif what == "set":
                deployment.set(how)
            nothing_is_lost()
        deployment.set(Behaviour())
        await client.all_end()
        nothing_is_lost()
        assert deployment.in_flight == 0

    run_in_virtual_time(main())


def test_counts_begin_again_and_what_is_inside_counts_where_it_began():
    async def main():
        client = Client()
        client.deployment.set(Behaviour(latency=Constant(1_000)))
        client.send(3)
        client.deployment.reset_counts()
        after = client.deployment.state()
        client.send()
        await client.all_end()
        return after, client.deployment.state()

    after, end = run_in_virtual_time(main())
    assert (after.counts.arrived, after.in_flight, after.most_in_flight) == (0, 3, 3)
    assert (end.counts.arrived, end.counts.answered, end.in_flight) == (1, 1, 0)
    assert (end.most_in_flight, end.arrived_since_change) == (4, 4)
