"""An issuer's keys: rolled over, taken back, out of reach, and not asked for too often."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from contracts.errors import DependencyUnavailable
from devhost.issuer.signing_key import SigningKey
from policies.identity.signing_keys import (
    MAX_AGE_SECONDS,
    PAUSE_SECONDS,
    RENEW_SECONDS,
    STALE_SECONDS,
    GivenKeys,
    PublishedKeys,
    usable,
)
from tests.unit.identity_fakes import KEYS_URL, Published, Time, issuer, signing_key


class Keys:
    def __init__(self) -> None:
        self.issuer = issuer()
        self.wire = Published(self.issuer)
        self.time = Time()
        self.keys = PublishedKeys(KEYS_URL, self.wire, self.time.monotonic)

    async def has(self, key: SigningKey) -> bool:
        found = await self.keys.find(key.id)
        await asyncio.sleep(0.001)  # what was begun in the background has its turn
        return found is not None


async def test_keys_are_read_once_however_many_ask():
    keys = Keys()
    assert all(await asyncio.gather(*(keys.has(signing_key()) for _ in range(50))))
    assert keys.wire.sent == 1


async def test_a_key_that_is_rolled_over_to_is_known_at_once():
    keys = Keys()
    assert await keys.has(keys.issuer.keys[0])
    keys.time.seconds += PAUSE_SECONDS
    former = keys.issuer.roll_over()
    assert await keys.has(keys.issuer.keys[-1])
    assert await keys.has(former)
    assert keys.wire.sent == 2


async def test_invented_key_ids_do_not_reach_the_issuer_each():
    keys = Keys()
    for _ in range(100):
        assert not await keys.has(SigningKey(signing_key().private, "ES256"))
        keys.time.seconds += 1
    assert keys.wire.sent <= 100 / PAUSE_SECONDS + 1


async def test_a_key_that_is_taken_back_ends():
    keys = Keys()
    former = keys.issuer.keys[0]
    assert await keys.has(former)
    keys.issuer.roll_over(keep=False)
    keys.time.seconds = MAX_AGE_SECONDS
    assert await keys.has(former)  # and they are read anew meanwhile
    keys.time.seconds = MAX_AGE_SECONDS + 1
    assert not await keys.has(former)


async def test_keys_in_use_are_renewed_in_the_background():
    keys = Keys()
    assert await keys.has(signing_key())
    for _ in range(10):
        keys.time.seconds += RENEW_SECONDS + 1
        keys.wire.down = True  # a call that waited would find nothing new
        found = keys.keys.find(signing_key().id)
        task = asyncio.create_task(found)
        await asyncio.sleep(0)
        keys.wire.down = False
        assert await task is not None
        await asyncio.sleep(0.001)
    assert keys.wire.sent == 11


async def test_while_the_issuer_is_away_its_keys_count_for_a_bounded_time():
    keys = Keys()
    assert await keys.has(signing_key())
    keys.wire.down = True
    keys.time.seconds = MAX_AGE_SECONDS + STALE_SECONDS
    assert await keys.has(signing_key())
    with pytest.raises(DependencyUnavailable):  # it may be a new one
        await keys.has(SigningKey(signing_key().private, "ES256"))
    keys.time.seconds += 1
    with pytest.raises(DependencyUnavailable):
        await keys.has(signing_key())
    keys.wire.down = False
    keys.time.seconds += PAUSE_SECONDS
    assert await keys.has(signing_key())


async def test_an_issuer_that_is_away_from_the_start_is_tried_every_few_seconds():
    keys = Keys()
    keys.wire.down = True
    for _ in range(20):
        with pytest.raises(DependencyUnavailable):
            await keys.has(signing_key())
        keys.time.seconds += 0.5
    assert keys.wire.sent == 5
    keys.wire.down = False
    keys.time.seconds += 2
    assert await keys.has(signing_key())


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b"<html>", b'{"keys": [1, null]}']
)
async def test_an_answer_without_keys_takes_none_away(body):
    keys = Keys()
    assert await keys.has(signing_key())
    keys.wire.body = body
    keys.time.seconds = MAX_AGE_SECONDS + 1
    assert await keys.has(signing_key())


async def test_a_caller_who_leaves_does_not_take_the_keys_away_from_others():
    keys = Keys()
    leaving, staying = (asyncio.create_task(keys.has(signing_key())) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying


def changed(**fields: Any) -> dict[str, Any]:
    published = signing_key("RS256").published | fields
    return {name: value for name, value in published.items() if value is not None}


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "x"},
        {"kty": "oct", "k": "c2VjcmV0", "alg": "RS256"},
        changed(use="enc"),
        changed(alg="HS256"),
        changed(alg="RSA-OAEP"),
        changed(alg="none"),
        changed(n="AQAB"),
        changed(n=None),
        changed(n=5),
        changed(kid=5),
        changed(alg=["RS256"]),
        changed(kty="EC"),
        {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
        SigningKey.make("RS256", bits=1024).published,
        json.loads(json.dumps(signing_key("ES256").published)) | {"y": "AAAA"},
    ],
    ids=str,
)
def test_what_is_no_public_key_for_signatures_is_passed_over(key):
    good = signing_key("ES256").published
    assert set(usable([key, good, "text", None])) == {good["kid"], None}


async def test_keys_that_are_given_are_used_as_they_are():
    keys = GivenKeys([signing_key("ES256").published, signing_key("RS256").published])
    assert await keys.find(signing_key("RS256").id) is not None
    assert await keys.find("other") is None
    assert await keys.find(None) is None
