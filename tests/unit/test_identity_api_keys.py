"""API keys: what is asked of storage, what is remembered, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import DependencyUnavailable, Unauthenticated
from contracts.identity import Identity, Role
from contracts.keys import PREFIX, NewKey, is_key_id, new_key, read_key
from endpoints.clocks import Clocks
from policies.identity import api_keys
from policies.identity.api_keys import ApiKeys
from tests.unit.identity_fakes import StoredKeys, Time
from tests.unit.virtual_time import run_in_virtual_time

KEY = new_key().text


def now() -> float:
    return asyncio.get_running_loop().time()


class Shop:
    """Keys in storage, and one worker that checks them; seconds are the loop's."""

    def __init__(self) -> None:
        self.stored = StoredKeys()
        self.began = Time().began
        clocks = Clocks(now=self.date, monotonic=now)
        self.keys = ApiKeys(self.stored, clocks)

    def date(self, seconds: float | None = None) -> Any:
        return self.began + timedelta(seconds=now() if seconds is None else seconds)

    async def opens(self, key: NewKey | str) -> bool:
        presented = read_key(key if isinstance(key, str) else key.text)
        assert presented is not None
        try:
            await self.keys.identity(presented)
        except Unauthenticated:
            return False
        return True

    def calls(self) -> dict[str, int]:
        told = dict(self.stored.calls)
        self.stored.calls.clear()
        return told


def timed(test: Any) -> Any:
    """The test's seconds pass at once."""

    def run() -> None:
        main: Coroutine[Any, Any, None] = test(Shop())
        run_in_virtual_time(main)

    return run


@timed
async def test_a_key_opens_what_it_was_issued_for(shop: Shop) -> None:
    key = shop.stored.issue("sales", [Role.READ], flows=frozenset({"f"}))
    presented = read_key(key.text)
    assert presented is not None
    assert await shop.keys.identity(presented) == Identity(
        "sales", f"key:{key.id}", frozenset({Role.READ}), None, frozenset({"f"})
    )


@timed
async def test_a_key_in_use_is_read_now_and_then_and_no_call_waits_for_it(shop: Shop) -> None:
    key = shop.stored.issue()
    assert await shop.opens(key)
    assert shop.calls() == {"ids": 1, "get": 1}
    for _ in range(600):
        await asyncio.sleep(0.1)
        shop.stored.down = True  # a call that waited for storage would fail, if not at once
        assert await shop.opens(key)
        shop.stored.down = False
        await asyncio.sleep(0.001)
    assert shop.calls()["get"] <= 6


@timed
async def test_a_revoked_key_opens_nothing_within_thirty_seconds(shop: Shop) -> None:
    key = shop.stored.issue()
    for used_every in (0.5, 5.0, 31.0):
        shop.stored.change(key.id, revoked_at=None)
        await asyncio.sleep(60)
        assert await shop.opens(key)
        await asyncio.sleep(used_every)
        await shop.opens(key)
        revoked_at = now()
        shop.stored.change(key.id, revoked_at=shop.date())
        while await shop.opens(key):
            await asyncio.sleep(used_every)
        assert now() - revoked_at <= api_keys.FRESH_SECONDS + used_every


@timed
async def test_a_key_may_end_at_a_time_to_come(shop: Shop) -> None:
    for field in ("expires_at", "revoked_at"):
        key = shop.stored.issue(**{field: shop.date(now() + 10)})
        assert await shop.opens(key)
        await asyncio.sleep(9.9)
        assert await shop.opens(key)
        await asyncio.sleep(0.1)
        assert not await shop.opens(key)


@timed
async def test_a_new_key_opens_at_once_also_after_others_were_tried(shop: Shop) -> None:
    for _ in range(5):
        assert not await shop.opens(new_key())
        assert await shop.opens(shop.stored.issue())


@timed
async def test_invented_keys_cost_a_list_each_half_a_second_and_no_read(shop: Shop) -> None:
    key = shop.stored.issue()
    began = now()
    while now() - began < 10:
        tried = [shop.opens(new_key()) for _ in range(50)]
        assert not any(await asyncio.gather(*tried))
    lists = shop.calls()
    assert lists["ids"] <= 21
    assert "get" not in lists
    # And those that were issued still open.
    crowd = [asyncio.create_task(shop.opens(new_key())) for _ in range(100)]
    await asyncio.sleep(0)
    assert await shop.opens(key)
    assert not any(await asyncio.gather(*crowd))


@timed
async def test_keys_that_were_in_the_last_list_need_no_other(shop: Shop) -> None:
    first, second = shop.stored.issue(), shop.stored.issue()
    assert await shop.opens(first)
    shop.calls()
    assert await shop.opens(second)
    assert shop.calls() == {"get": 1}


@timed
async def test_an_invented_key_that_comes_again_is_refused_at_once(shop: Shop) -> None:
    key = new_key()
    assert not await shop.opens(key)
    shop.calls()
    began = now()
    for _ in range(100):
        assert not await shop.opens(key)
    assert now() == began
    assert shop.calls() == {}


@timed
async def test_a_crowd_of_invented_keys_is_bounded(shop: Shop) -> None:
    await shop.opens(new_key())
    crowd = [shop.opens(new_key()) for _ in range(api_keys.MOST_WAITING + 50)]
    answers = await asyncio.gather(*crowd, return_exceptions=True)
    told_to_come_again = [each for each in answers if isinstance(each, DependencyUnavailable)]
    assert len(told_to_come_again) == 50
    assert answers.count(False) == api_keys.MOST_WAITING


@timed
async def test_many_callers_of_one_key_cause_one_read(shop: Shop) -> None:
    key = shop.stored.issue()
    assert all(await asyncio.gather(*(shop.opens(key) for _ in range(100))))
    assert shop.calls() == {"ids": 1, "get": 1}


@timed
async def test_while_storage_is_down_known_keys_open_for_a_bounded_time(shop: Shop) -> None:
    key, other = shop.stored.issue(), shop.stored.issue()
    assert await shop.opens(key)
    shop.stored.down = True
    began = now()
    with pytest.raises(DependencyUnavailable):
        await shop.opens(other)
    with pytest.raises(DependencyUnavailable):
        while await shop.opens(key):
            await asyncio.sleep(5)
    most = api_keys.FRESH_SECONDS + api_keys.OUTAGE_SECONDS
    assert most - 5 <= now() - began <= most + 5
    shop.stored.down = False
    assert await shop.opens(key)


@timed
async def test_a_deleted_key_opens_nothing_and_is_not_read_each_time(shop: Shop) -> None:
    key = shop.stored.issue()
    assert await shop.opens(key)
    del shop.stored.kept[key.id]
    await asyncio.sleep(31)
    assert not await shop.opens(key)
    shop.calls()
    for _ in range(10):
        assert not await shop.opens(key)
    assert shop.calls().get("get", 0) <= 1


@timed
async def test_a_caller_who_leaves_takes_nothing_from_the_others(shop: Shop) -> None:
    key = shop.stored.issue()
    leaving, staying = (asyncio.create_task(shop.opens(key)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying


def test_a_key_is_read_back():
    made = new_key()
    presented = read_key(made.text)
    assert presented is not None
    assert (presented.id, presented.digest) == (made.id, made.digest)
    assert is_key_id(made.id)
    assert made.text.startswith(PREFIX)
    assert made.text.removeprefix(f"{PREFIX}{made.id}-") not in repr(replace(made, text=""))


@given(
    at=st.integers(0, len(KEY) - 1),
    char=st.characters(max_codepoint=0x2FF),
    how=st.sampled_from(["replace", "insert", "drop"]),
)
async def test_no_mangled_key_is_accepted(at: int, char: str, how: str) -> None:
    shop = Shop()
    key = shop.stored.issue()
    rest = key.text[at + 1 :] if how != "insert" else key.text[at:]
    mangled = key.text[:at] + ("" if how == "drop" else char) + rest
    if mangled == key.text:
        return
    presented = read_key(mangled)
    assert presented is None or not await shop.opens(mangled)
