"""Tokens: cached, fetched once however many want one, renewed when refused."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from endpoints.credentials import (
    LAST_USE_BEFORE_EXPIRY,
    REFRESH_BEFORE_EXPIRY,
    RENEW_AT_MOST_EVERY,
    Identity,
    Key,
    Token,
    TokenUnavailable,
)

SCOPE = "https://ml.azure.com/.default"
HOUR = 3600.0
SOON = 5.0
"""Seconds within which a token is wanted."""


@dataclass
class Issuer:
    """Issues t1, t2, … each good for an hour; `open` cleared holds every fetch back."""

    time: float = 1_000_000.0
    issued: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)
    down: bool = False
    same: bool = False

    def __post_init__(self) -> None:
        self.open.set()

    async def fetch(self, scope: str) -> Token:
        assert scope == SCOPE
        await self.open.wait()
        if self.down:
            raise TokenUnavailable("CredentialUnavailableError")
        self.issued += 1
        return Token("t1" if self.same else f"t{self.issued}", self.time + HOUR)

    def identity(self) -> Identity:
        return Identity(SCOPE, self.fetch, lambda: self.time)


async def settled() -> None:
    """Let what is under way in the background end."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_key_is_what_it_is() -> None:
    assert await Key("k").secret(SOON) == "k"
    assert await Key("k").renewed("k", SOON) is None


async def test_a_token_serves_until_it_nears_its_end() -> None:
    issuer = Issuer()
    identity = issuer.identity()
    assert [await identity.secret(SOON) for _ in range(3)] == ["t1", "t1", "t1"]
    issuer.time += HOUR - REFRESH_BEFORE_EXPIRY - 1
    assert await identity.secret(SOON) == "t1"
    await settled()
    assert issuer.issued == 1


async def test_near_its_end_the_old_one_serves_while_the_new_one_comes() -> None:
    issuer = Issuer()
    identity = issuer.identity()
    await identity.secret(SOON)
    issuer.time += HOUR - REFRESH_BEFORE_EXPIRY + 1
    assert await identity.secret(SOON) == "t1"
    await settled()
    assert await identity.secret(SOON) == "t2"


async def test_at_its_end_the_new_one_is_waited_for() -> None:
    issuer = Issuer()
    identity = issuer.identity()
    await identity.secret(SOON)
    issuer.time += HOUR - LAST_USE_BEFORE_EXPIRY + 1
    assert await identity.secret(SOON) == "t2"


async def test_a_hundred_calls_fetch_one_token() -> None:
    issuer = Issuer()
    issuer.open.clear()
    identity = issuer.identity()
    calls = [asyncio.create_task(identity.secret(SOON)) for _ in range(100)]
    await settled()
    issuer.open.set()
    assert set(await asyncio.gather(*calls)) == {"t1"}
    assert issuer.issued == 1


async def test_a_call_that_gives_up_does_not_end_the_fetch_for_others() -> None:
    issuer = Issuer()
    issuer.open.clear()
    identity = issuer.identity()
    one, other = (asyncio.create_task(identity.secret(SOON)) for _ in range(2))
    await settled()
    one.cancel()
    await settled()
    issuer.open.set()
    assert await other == "t1"
    assert one.cancelled()


async def test_a_token_is_waited_for_no_longer_than_asked() -> None:
    issuer = Issuer()
    issuer.open.clear()
    identity = issuer.identity()
    with pytest.raises(TokenUnavailable, match="timed out"):
        await identity.secret(within=0.01)
    await identity.aclose()


async def test_a_refused_token_is_renewed_once_for_all() -> None:
    issuer = Issuer()
    identity = issuer.identity()
    await identity.secret(SOON)
    issuer.time += RENEW_AT_MOST_EVERY
    renewed = await asyncio.gather(*(identity.renewed("t1", SOON) for _ in range(50)))
    assert set(renewed) == {"t2"}
    assert await identity.renewed("t1", SOON) == "t2"  # a straggler finds the new one there
    assert issuer.issued == 2


async def test_a_fresh_token_that_is_refused_is_not_renewed() -> None:
    issuer = Issuer()
    identity = issuer.identity()
    await identity.secret(SOON)
    issuer.time += RENEW_AT_MOST_EVERY - 1
    assert await identity.renewed("t1", SOON) is None
    assert issuer.issued == 1


async def test_the_same_token_again_is_no_renewal() -> None:
    issuer = Issuer(same=True)
    identity = issuer.identity()
    await identity.secret(SOON)
    issuer.time += RENEW_AT_MOST_EVERY
    assert await identity.renewed("t1", SOON) is None


async def test_a_failed_fetch_is_told_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    issuer = Issuer(down=True)
    identity = issuer.identity()
    with caplog.at_level(logging.WARNING, "sluice.endpoints"), pytest.raises(TokenUnavailable):
        await identity.secret(SOON)
    assert caplog.messages == [f"No token for {SCOPE}: CredentialUnavailableError"]
    issuer.down = False
    assert await identity.secret(SOON) == "t1"


async def test_closing_ends_a_fetch_under_way() -> None:
    issuer = Issuer()
    issuer.open.clear()
    identity = issuer.identity()
    call = asyncio.create_task(identity.secret(SOON))
    await settled()
    await identity.aclose()
    await asyncio.wait([call])
    assert call.cancelled()


def test_azure_identity_and_the_http_client_are_imported_where_they_are_used() -> None:
    code = (
        "import sys, endpoints;"
        "print(sorted({'azure.identity', 'aiohttp', 'openai'} & sys.modules.keys()))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == "[]"
