"""How a deployment learns who is calling: a key, or a token of the app's managed identity."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import NamedTuple, Protocol

logger = logging.getLogger("sluice.endpoints")

REFRESH_BEFORE_EXPIRY = 300.0
"""Seconds. From here on a new token is fetched, while the old one still serves."""
LAST_USE_BEFORE_EXPIRY = 30.0
"""Seconds. A token that expires sooner could expire on the way."""
RENEW_AT_MOST_EVERY = 60.0
"""Seconds. A token younger than this was refused for another reason than its age."""


class Token(NamedTuple):
    value: str
    expires_on: float
    """Unix time, in seconds."""


class TokenUnavailable(Exception):
    """No token can be had now; the text names the kind of failure."""


type FetchToken = Callable[[str], Coroutine[None, None, Token]]
"""Gets a token for a scope. Raises TokenUnavailable."""


class Credential(Protocol):
    """What is sent to prove who calls. Neither method takes longer than `within` seconds."""

    async def secret(self, within: float) -> str:
        """The key or token to send now. Raises TokenUnavailable."""
        ...

    async def renewed(self, refused: str, within: float) -> str | None:
        """Another secret than the refused one, or None. Raises TokenUnavailable."""
        ...


class Key:
    """A key, which never changes while the app runs."""

    def __init__(self, value: str) -> None:
        self.value = value

    async def secret(self, within: float) -> str:
        return self.value

    async def renewed(self, refused: str, within: float) -> str | None:
        return None


class Identity:
    """Tokens for one scope, cached; however many calls want one, one fetch is under way."""

    def __init__(self, scope: str, fetch: FetchToken, now: Callable[[], float] = time.time) -> None:
        self._scope = scope
        self._fetch = fetch
        self._now = now
        self._token: Token | None = None
        self._fetched_at = 0.0
        self._fetching: asyncio.Task[Token] | None = None

    async def secret(self, within: float) -> str:
        token = self._token
        left = token.expires_on - self._now() if token else 0.0
        if token and left > REFRESH_BEFORE_EXPIRY:
            return token.value
        fetching = self._start_fetching()
        if token and left > LAST_USE_BEFORE_EXPIRY:
            return token.value
        return (await self._fetched(fetching, within)).value

    async def renewed(self, refused: str, within: float) -> str | None:
        token = self._token
        if token and token.value != refused:
            return token.value  # another call renewed it in the meantime
        if self._now() - self._fetched_at < RENEW_AT_MOST_EVERY:
            return None
        fresh = await self._fetched(self._start_fetching(), within)
        return fresh.value if fresh.value != refused else None

    async def aclose(self) -> None:
        if (fetching := self._fetching) is not None:
            fetching.cancel()
            await asyncio.wait([fetching])

    async def _fetched(self, fetching: asyncio.Task[Token], within: float) -> Token:
        """Its result. A caller that gives up does not end it for the others."""
        try:
            async with asyncio.timeout(within):
                return await asyncio.shield(fetching)
        except TimeoutError as error:
            raise TokenUnavailable("timed out") from error

    def _start_fetching(self) -> asyncio.Task[Token]:
        """The fetch under way, or a new one."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch(self._scope))
            self._fetching.add_done_callback(self._keep)
        return self._fetching

    def _keep(self, fetching: asyncio.Task[Token]) -> None:
        self._fetching = None
        if fetching.cancelled():
            return
        error = fetching.exception()
        if error is None:
            self._token = fetching.result()
            self._fetched_at = self._now()
        else:
            logger.warning("No token for %s: %s", self._scope, error)


async def azure_token(scope: str) -> Token:
    """A token from azure-identity's default chain: in Azure the app's managed identity.

    The credential is made for this one fetch, so that no cache but ours stands between a refused
    token and a new one. `AZURE_CLIENT_ID` chooses a user-assigned identity. The developer tools of
    the chain serve a developer's machine, the environment's service principal CI.
    """
    from azure.core.exceptions import AzureError
    from azure.identity.aio import DefaultAzureCredential

    try:
        # Waiting and trying again is the orchestrator's, here as everywhere.
        async with DefaultAzureCredential(retry_total=0) as credential:
            token = await credential.get_token(scope)
    except (AzureError, ValueError) as error:  # ValueError: an identity half configured
        raise TokenUnavailable(type(error).__name__) from error
    return Token(token.token, token.expires_on)
