"""A share of the answered calls is sent once more, and nobody notices but who compares."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from math import sqrt

import pytest

from contracts.calls import ModelAnswer
from contracts.errors import CallFailed
from contracts.states import Priority
from endpoints.mirroring import MOST_AT_ONCE
from tests.unit.endpoints_fakes import NOON, REFUSED, at_least_once, at_most_once, outcomes, reply
from tests.unit.routing_fakes import Answer, Town, in_virtual_time, settled

ALWAYS = 50.0


def town(percent: float = ALWAYS, **shadow: object) -> Town:
    """Deployment a answers; calls are mirrored to b."""
    return Town.of(
        {"name": "a"},
        {"name": "b", "weight": 0, **shadow},
        mirror={"to": "b", "percent": percent},
    )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance has it that every call is mirrored."""
    monkeypatch.setattr("endpoints.mirroring.random", lambda: 0.0)


@pytest.mark.usefixtures("drawn")
@in_virtual_time
async def test_the_caller_is_answered_before_the_shadow_is_asked():
    here = town()
    here.wire.plays(a=[Answer(1)], b=[Answer(500)])
    scope = at_least_once()
    answer = await here.call(scope)
    assert (here.now, here.wire.asked) == (1, ["a"])
    await settled()
    assert here.wire.asked == ["a", "b"]
    await asyncio.sleep(500)
    assert outcomes(scope) == [("a", "answered")]
    assert answer.attempt.deployment == "a"


@pytest.mark.usefixtures("drawn")
@in_virtual_time
async def test_what_the_shadow_used_is_metered_as_mirrored():
    here = town()
    here.wire.plays(b=[Answer(2, reply(200, {"usage": {"prompt_tokens": 5}}))])
    await here.call()
    await asyncio.sleep(3)
    live, shadow = here.records
    assert (live.mirrored, shadow.mirrored) == (False, True)
    assert (shadow.tenant, shadow.job_id, shadow.number) == ("tenant-1", "job-1", 1)
    assert shadow.attempt.usage.input_tokens == 5


@pytest.mark.usefixtures("drawn")
@in_virtual_time
async def test_a_comparison_tells_how_both_did_and_nothing_of_what_was_said():
    here = town()
    said = {"choices": [{"message": {"content": "the quick brown fox"}}]}
    other = {"choices": [{"message": {"content": "the quick brown dog"}}]}
    usage = {"prompt_tokens": 7, "completion_tokens": 4}
    here.wire.plays(
        a=[Answer(1, reply(200, {**said, "usage": usage}))],
        b=[Answer(2, reply(200, {**other, "usage": usage}))],
    )
    await here.call()
    await asyncio.sleep(3)
    [comparison] = here.comparisons
    assert comparison.model == "m"
    assert comparison.at == NOON + timedelta(seconds=3)
    assert (comparison.live.deployment, comparison.shadow.deployment) == ("a", "b")
    assert (comparison.live.seconds, comparison.shadow.seconds) == (1, 2)
    for side in (comparison.live, comparison.shadow):
        assert (side.outcome, side.status) == ("answered", 200)
        assert (side.input_tokens, side.output_tokens) == (7, 4)
    assert comparison.similarity == pytest.approx(0.75)
    assert "fox" not in comparison.model_dump_json()


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("bad", [reply(500), reply(400), reply(401), REFUSED])
@in_virtual_time
async def test_a_shadow_that_does_not_answer_is_a_comparison_too(bad):
    here = town()
    here.wire.plays(b=[Answer(0, bad)])
    await here.call()
    await settled()
    [comparison] = here.comparisons
    assert comparison.shadow.outcome != "answered"
    assert comparison.similarity is None


@pytest.mark.usefixtures("drawn")
@in_virtual_time
async def test_at_most_once_is_not_mirrored():
    here = town()
    await here.call(at_most_once())
    await settled()
    assert here.wire.asked == ["a"]


@pytest.mark.usefixtures("drawn")
@in_virtual_time
async def test_what_was_not_answered_is_not_mirrored():
    here = town()
    here.wire.plays(a=[Answer(0, reply(500))])
    with pytest.raises(CallFailed):
        await here.call()
    await settled()
    assert here.wire.asked == ["a"]


@pytest.mark.usefixtures("drawn")
@in_virtual_time
async def test_what_the_shadow_itself_answered_is_not_mirrored():
    here = town()
    await here.call(pin="b")
    await settled()
    assert here.wire.asked == ["b"]


@pytest.mark.usefixtures("drawn")
@in_virtual_time
async def test_a_shadow_that_cannot_carry_the_call_is_left_out():
    here = town(max_request_bytes=5)
    await here.call()
    await settled()
    assert (here.wire.asked, here.comparisons) == (["a"], [])
    assert here.in_flight() == {"a": 0, "b": 0}


@pytest.mark.usefixtures("drawn")
@in_virtual_time
async def test_a_task_that_the_shadow_does_not_do_is_left_out():
    here = Town.of(
        {"name": "a"},
        {"name": "b", "protocol": "openai", "url": "http://b/v1", "model": "x", "weight": 0},
        mirror={"to": "b", "percent": ALWAYS},
    )
    await here.call()
    await settled()
    assert here.wire.asked == ["a"]


@pytest.mark.usefixtures("drawn")
@in_virtual_time
async def test_only_so_many_are_under_way():
    here = town()
    here.place("b").standing.calls_at_once.limit = 1000
    here.wire.plays(b=[Answer(100)] * 1000)
    for _ in range(3 * MOST_AT_ONCE):
        await here.call()
    await settled()
    assert here.in_flight()["b"] == MOST_AT_ONCE


@pytest.mark.usefixtures("drawn")
@in_virtual_time
async def test_a_shadow_without_room_is_not_waited_for():
    here = town(max_concurrency=2)
    here.wire.plays(b=[Answer(100)] * 100)
    for _ in range(20):
        await here.call()
    await settled()
    assert here.wire.asked.count("b") == 2
    await asyncio.sleep(300)
    assert here.wire.asked.count("b") == 2


@pytest.mark.usefixtures("drawn")
@in_virtual_time
async def test_a_shadow_that_keeps_failing_is_left_alone():
    here = town()
    here.wire.plays(b=[Answer(0, reply(503))] * 100)
    for _ in range(50):
        await here.call()
        await settled()
    assert here.wire.asked.count("b") == 3


@pytest.mark.usefixtures("drawn")
@in_virtual_time
async def test_closing_gives_up_what_is_under_way():
    here = town()
    here.wire.plays(b=[Answer(1000)] * 5)
    for _ in range(5):
        await here.call()
    await settled()
    await here.endpoints.aclose()
    assert here.wire.cancelled == ["b"] * 5
    assert here.in_flight() == {"a": 0, "b": 0}


@pytest.mark.parametrize("percent", [5.0, 50.0])
@in_virtual_time
async def test_no_more_than_its_share_is_mirrored(percent):
    here, calls = town(percent), 2000
    for _ in range(calls):
        await here.call()
    await settled()
    expected, mirrored = calls * percent / 100, here.wire.asked.count("b")
    assert abs(mirrored - expected) <= 6 * sqrt(expected)


@pytest.mark.usefixtures("drawn")
@in_virtual_time
async def test_many_callers_are_as_quick_as_without_a_mirror():
    async def all_answered(here: Town) -> float:
        here.wire.otherwise = Answer(1)
        here.wire.plays(b=[Answer(1000)] * 100)
        scope = at_least_once()
        scope.patience, scope.priority = 100, Priority.BATCH
        begun = here.now
        answers = await asyncio.gather(*(here.call(scope) for _ in range(100)))
        assert all(isinstance(answer, ModelAnswer) for answer in answers)
        return here.now - begun

    mirrored = await all_answered(town())
    assert mirrored == await all_answered(Town.of({"name": "a"}, {"name": "b", "weight": 0}))
