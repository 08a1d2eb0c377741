"""Who goes next: real time first, batch never left out, first come first served."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from endpoints.routing.waiting import BATCH_EVERY, Waiter, Waiters
from tests.unit.virtual_time import run_in_virtual_time


async def served(arrivals: list[tuple[str, bool]], slots: int, deployment: str) -> list[int]:
    """Who gets the deployment's slots; `arrivals`: what each waits for, and whether for batch."""
    waiters: Waiters[str, int] = Waiters()
    numbers: dict[Waiter[str, int], int] = {}
    for number, (wanted, batch) in enumerate(arrivals):
        waiter: Waiter[str, int] = Waiter(wanted, 0, batch=batch)
        numbers[waiter] = number
        waiters.add(waiter)
    order: list[int] = []

    def grant(waiter: Waiter[str, int]) -> bool:
        if len(order) == slots:
            return False
        waiter.granted.set_result(0)
        order.append(numbers[waiter])
        return True

    waiters.hand_on(deployment, grant)
    assert len(waiters) == len(arrivals) - len(order)
    return order


def who(arrivals: list[tuple[str, bool]], slots: int, deployment: str = "a") -> list[int]:
    return run_in_virtual_time(served(arrivals, slots, deployment))


lines = st.lists(st.tuples(st.sampled_from(["a", "b", "ab"]), st.booleans()), max_size=60)


@given(arrivals=lines, slots=st.integers(0, 60))
def test_every_slot_finds_someone_who_wants_it_as_long_as_there_is_one(arrivals, slots):
    willing = [number for number, (wanted, _) in enumerate(arrivals) if "a" in wanted]
    order = who(arrivals, slots)
    assert len(order) == min(slots, len(willing))
    assert set(order) <= set(willing)


@given(arrivals=lines, slots=st.integers(0, 60))
def test_first_come_first_served_within_a_class(arrivals, slots):
    order = who(arrivals, slots)
    for batch in (False, True):
        of_class = [number for number in order if arrivals[number][1] is batch]
        willing = [n for n, (wanted, b) in enumerate(arrivals) if "a" in wanted and b is batch]
        assert of_class == willing[: len(of_class)]


@given(realtime=st.integers(0, 100), batch=st.integers(0, 100), slots=st.integers(0, 100))
def test_while_both_wait_batch_gets_one_slot_of_eight(realtime, batch, slots):
    order = who([("a", False)] * realtime + [("a", True)] * batch, slots)
    contested = []
    left = {False: realtime, True: batch}
    for number in order:
        is_batch = number >= realtime
        if left[False] and left[True]:
            contested.append(is_batch)
        left[is_batch] -= 1
    assert contested == [place % BATCH_EVERY == BATCH_EVERY - 1 for place in range(len(contested))]


def test_a_slot_that_nobody_wants_goes_to_nobody():
    assert who([("b", False), ("b", True)], 5) == []


async def test_who_has_just_come_goes_after_those_of_its_class_or_a_better_one():
    waiters: Waiters[str, int] = Waiters()
    waiters.add(Waiter("a", 0, batch=True))
    assert not waiters.goes_before("a", batch=False)
    assert waiters.goes_before("a", batch=True)
    waiters.add(Waiter("b", 0, batch=False))
    assert not waiters.goes_before("a", batch=False)
    assert waiters.goes_before("b", batch=True)
