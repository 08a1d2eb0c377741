"""Asking Azure AI Content Safety, by way of the one HTTP client, within the time that is allowed.

It is asked once and never again at once: what does not answer is left alone for a while, and the
tenant's settings say whether requests go on unseen or wait meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import JsonValue
from yarl import URL

from endpoints import json_body
from endpoints.credentials import (
    Credential,
    FetchToken,
    Identity,
    Key,
    TokenUnavailable,
    azure_token,
)
from endpoints.retry_after import retry_after
from endpoints.wire import Limits, NoReply, Reply, Request, Wire
from policies.identity.bounded import Bounded
from policies.screening.content_safety.contract import API_VERSION, Ask, asks, reason
from policies.screening.digests import digest
from policies.screening.material import Material, Said
from policies.screening.settings import ContentSafetySettings

MOST_ASKS = 40
"""About one request; what takes more is not asked about, and counts as not answered."""
AT_ONCE = 4
"""Requests on behalf of one."""
MOST_KEPT = 5_000
"""Answers that are remembered: a line or a job that is run again is not asked about again."""
REST_SECONDS = 2.0
"""Without asking, after no answer: else each caller would wait for the same silence."""
LONGEST_REST_SECONDS = 60.0
"""Whatever the service says."""
_MOST_ANSWER_BYTES = 256 * 1024
_CONNECT_SECONDS = 1.0


class Unanswered(Exception):
    """The service gave no verdict; the text is why, in our own words."""


class ContentSafety:
    """One resource, as one tenant's settings say."""

    def __init__(
        self,
        settings: ContentSafetySettings,
        wire: Wire,
        fetch_token: FetchToken = azure_token,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`settings` has an endpoint and credentials."""
        assert settings.endpoint is not None
        assert settings.auth is not None
        self._settings = settings
        self._wire = wire
        self._now = now
        self._rests_until = 0.0
        self._address = f"{URL(settings.endpoint).origin()}/contentsafety"
        self._limits = Limits(settings.timeout_seconds, _CONNECT_SECONDS, _MOST_ANSWER_BYTES)
        self._known: Bounded[bytes, str] = Bounded(MOST_KEPT)
        key = settings.auth.key
        self._keyed = key is not None
        self._credential: Credential = (
            Key(key.get_secret_value())
            if key is not None
            else Identity(settings.auth.managed_identity or "", fetch_token)
        )

    async def harm(self, material: Material) -> str | None:
        """What is found in it first, as a reason code. Raises Unanswered."""
        said = [each for each in material.texts if each.text.strip()]
        name = digest(*(f"{each.role}\0{each.text}" for each in said))
        known = self._known.get(name)
        if known is None:
            known = await self._asked(said) or ""
            self._known.put(name, known)
        return known or None

    async def _asked(self, said: list[Said]) -> str | None:
        if self._now() < self._rests_until:
            raise Unanswered("it did not answer a moment ago")
        wanted = list(asks(said, self._settings))
        if len(wanted) > MOST_ASKS:
            raise Unanswered("the text is too long to ask about")
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                return await self._answers(wanted)
        except TimeoutError:
            self._rest(REST_SECONDS)
            raise Unanswered("it did not answer in time") from None

    async def _answers(self, wanted: list[Ask]) -> str | None:
        """What the first of them finds that finds anything."""
        some = asyncio.Semaphore(AT_ONCE)

        async def answer(ask: Ask) -> str | None:
            async with some:
                return self._reason(ask, await self._post(ask))

        try:
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(answer(ask)) for ask in wanted]
        except* Unanswered as errors:
            raise _first(errors) from None
        return next(filter(None, (each.result() for each in asked)), None)

    def _reason(self, ask: Ask, answer: JsonValue) -> str | None:
        try:
            return reason(ask, answer, self._settings.severities)
        except ValueError as error:
            raise Unanswered(str(error)) from error

    async def _post(self, ask: Ask) -> JsonValue:
        url = URL(f"{self._address}/{ask.operation}?api-version={API_VERSION}", encoded=True)
        request = Request(url, {"content-type": "application/json"}, json_body.encode(ask.body))
        seconds = self._settings.timeout_seconds
        try:
            secret = await self._credential.secret(seconds)
            reply = await self._send(request, secret)
            if isinstance(reply, Reply) and reply.status == 401:
                fresh = await self._credential.renewed(secret, seconds)
                if fresh is not None:
                    reply = await self._send(request, fresh)
        except TokenUnavailable as error:
            raise Unanswered(f"no token: {error}") from error
        return self._read(reply)

    async def _send(self, request: Request, secret: str) -> Reply | NoReply:
        proof = (
            {"ocp-apim-subscription-key": secret}
            if self._keyed
            else {"authorization": f"Bearer {secret}"}
        )
        return await self._wire.send(request, proof, self._limits)

    def _read(self, reply: Reply | NoReply) -> JsonValue:
        if isinstance(reply, NoReply):
            self._rest(REST_SECONDS)
            raise Unanswered(reply.reason)
        if reply.status != 200:
            if reply.status == 429 or reply.status >= 500:
                self._rest(retry_after(reply.headers, datetime.now(UTC)) or REST_SECONDS)
            raise Unanswered(f"it answered {reply.status}")
        try:
            return json_body.decode(reply.body or b"")
        except json_body.NotJson:
            raise Unanswered("its answer is no JSON") from None

    def _rest(self, seconds: float) -> None:
        until = self._now() + min(seconds, LONGEST_REST_SECONDS)
        self._rests_until = max(self._rests_until, until)


def _first(errors: BaseExceptionGroup[Unanswered]) -> Unanswered:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
