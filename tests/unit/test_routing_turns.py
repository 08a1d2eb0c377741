"""Batch calls take turns: tenants among each other, and each tenant's batches."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from endpoints.routing.waiting import Turn, Waiter, Waiters
from tests.unit.virtual_time import run_in_virtual_time


@dataclass
class Line:
    """Waiters for one deployment; `served` tells who got a slot, in order."""

    waiters: Waiters[str, int] = field(default_factory=Waiters)
    numbers: dict[Waiter[str, int], int] = field(default_factory=dict)
    served: list[tuple[Turn, int]] = field(default_factory=list)

    def come(self, turn: Turn, wanted: str = "a") -> Waiter[str, int]:
        waiter: Waiter[str, int] = Waiter(wanted, 0, batch=True, turn=turn)
        self.numbers[waiter] = len(self.numbers)
        self.waiters.add(waiter)
        return waiter

    def serve(self, slots: int = 1) -> None:
        def grant(waiter: Waiter[str, int]) -> bool:
            nonlocal slots
            if not slots:
                return False
            slots -= 1
            waiter.granted.set_result(0)
            self.served.append((waiter.turn, self.numbers[waiter]))
            return True

        self.waiters.hand_on("a", grant)


turns = st.tuples(st.sampled_from("xyz"), st.sampled_from("123")).map(lambda two: Turn(*two))


@given(waiting=st.dictionaries(turns, st.integers(1, 30), min_size=1), slots=st.integers(0, 200))
def test_while_all_wait_none_has_more_than_one_slot_more_than_another(waiting, slots):
    async def run() -> Line:
        line = Line()
        for turn, count in waiting.items():
            for _ in range(count):
                line.come(turn)
        line.serve(slots)
        return line

    served = [turn for turn, _ in run_in_virtual_time(run()).served]
    assert len(served) == min(slots, sum(waiting.values()))
    left = Counter(waiting)
    tenants: Counter[str] = Counter({turn.tenant: 0 for turn in waiting})
    batches: Counter[Turn] = Counter(dict.fromkeys(waiting, 0))
    for turn in served:
        tenants[turn[0]] += 1
        batches[turn] += 1
        left[turn] -= 1
        if not left[turn]:
            break  # from here on one has none left to be served
        assert max(tenants.values()) - min(tenants.values()) <= 1
        mine = [count for other, count in batches.items() if other[0] == turn[0]]
        assert max(mine) - min(mine) <= 1


events = st.lists(
    st.tuples(st.just("come"), turns) | st.tuples(st.just("serve"), st.integers(1, 3)), max_size=80
)


@given(events=events)
def test_between_two_slots_of_one_every_other_that_waited_all_the_while_has_one(events):
    async def run() -> None:
        line = Line()
        came_at: dict[int, tuple[int, Turn]] = {}
        served_at: list[tuple[int, Turn]] = []
        for now, (event, value) in enumerate(events):
            if event == "come":
                came_at[line.numbers[line.come(value)]] = now, value
                continue
            for _ in range(value):
                before = len(line.served)
                line.serve()
                if len(line.served) > before:
                    turn, number = line.served[-1]
                    check(turn, served_at, came_at)
                    served_at.append((now, turn))
                    del came_at[number]

    def check(
        turn: Turn, served_at: list[tuple[int, Turn]], waiting: dict[int, tuple[int, Turn]]
    ) -> None:
        for length in (1, 2):  # tenants, then the batches of one
            own = [
                place
                for place, (_, other) in enumerate(served_at)
                if other[:length] == turn[:length]
            ]
            if not own:
                continue
            since, _ = served_at[own[-1]]
            after = {other[:length] for _, other in served_at[own[-1] + 1 :]}
            for came, other in waiting.values():
                if other[: length - 1] == turn[: length - 1] and other[:length] != turn[:length]:
                    assert came > since or other[:length] in after

    run_in_virtual_time(run())


@given(arrivals=st.lists(turns, max_size=40))
def test_of_one_batch_first_come_is_first_served(arrivals):
    async def run() -> Line:
        line = Line()
        for turn in arrivals:
            line.come(turn)
        line.serve(len(arrivals))
        return line

    served = run_in_virtual_time(run()).served
    for turn in set(arrivals):
        numbers = [number for other, number in served if other == turn]
        assert numbers == sorted(numbers)


@given(arrivals=st.lists(st.tuples(turns, st.booleans()), max_size=40))
def test_who_gives_up_leaves_no_trace(arrivals):
    async def run() -> Line:
        line = Line()
        came = [(line.come(turn), stays) for turn, stays in arrivals]
        for waiter, stays in came:
            if not stays:
                line.waiters.remove(waiter)
        line.serve(len(arrivals))
        return line

    line = run_in_virtual_time(run())
    assert len(line.served) == sum(stays for _, stays in arrivals)
    assert len(line.waiters) == 0
    assert line.waiters._batch._tenants == {}


async def test_one_that_wants_another_deployment_does_not_lose_its_turn():
    line = Line()
    for _ in range(3):
        line.come(Turn("x", "1"))
    line.come(Turn("y", "1"), wanted="b")
    line.serve(1)
    line.come(Turn("y", "1"))
    line.serve(1)
    assert [turn for turn, _ in line.served] == [Turn("x", "1"), Turn("y", "1")]


weights = st.dictionaries(
    st.sampled_from("wxyz"), st.sampled_from([0.25, 0.5, 1, 1.5, 2, 3, 10]), min_size=1
)


def served_of(line: Line) -> Counter[str]:
    return Counter(turn.tenant for turn, _ in line.served)


@given(weights=weights, slots=st.integers(1, 300))
def test_while_all_wait_each_has_its_part_by_weight(weights, slots):
    async def run() -> Line:
        line = Line()
        for tenant, weight in weights.items():
            for _ in range(slots):
                line.come(Turn(tenant, "1", weight))
        line.serve(slots)
        return line

    served = served_of(run_in_virtual_time(run()))
    for one, weight in weights.items():
        for other, its in weights.items():
            # Never further apart than a turn of each.
            behind = served[one] / weight - served[other] / its
            assert abs(behind) <= 1 / weight + 1 / its + 1e-9


@given(
    weights=weights,
    pauses=st.lists(st.tuples(st.sampled_from("wxyz"), st.integers(0, 3)), max_size=60),
)
def test_who_always_waits_has_its_part_whatever_the_others_do(weights, pauses):
    """Others come and go, with one call at a time or several: nothing is gained by it."""
    own = 2.0

    async def run() -> Line:
        line = Line()
        for _ in range(1000):
            line.come(Turn("me", "1", own))
        for tenant, calls in pauses:
            for _ in range(calls):
                line.come(Turn(tenant, "1", weights.get(tenant, 1)))
            line.serve(1)
        return line

    served = served_of(run_in_virtual_time(run()))
    all_weights = {tenant: weights.get(tenant, 1) for tenant in "wxyz"}
    least = sum(served.values()) * own / (own + sum(all_weights.values()))
    # A newcomer may be a turn ahead; and I was the first to have one.
    assert served["me"] >= least - 1 - own * sum(1 / weight for weight in all_weights.values())


async def test_one_that_leaves_and_comes_back_at_once_gains_nothing():
    line = Line()
    for _ in range(100):
        line.come(Turn("me", "1", 3))
    for _ in range(60):
        waiter = line.come(Turn("other", "1"))
        line.serve(1)
        if not waiter.granted.done():
            line.waiters.remove(waiter)
    served = served_of(line)
    assert 44 <= served["me"] <= 46
    assert served.total() == 60


async def test_those_that_have_been_reached_are_forgotten(monkeypatch):
    monkeypatch.setattr("endpoints.routing.waiting.MOST_REMEMBERED", 10)
    line = Line()
    for number in range(200):
        line.come(Turn(f"t{number}", "1"))
        line.come(Turn("me", "1"))
        line.serve(2)
    assert len(line.waiters._batch._places) <= 12
