"""Who asks: the one way from what a request or a message carries to an identity.

A request may carry an API key, a bearer token, or the word of App Service authentication. A key
counts before the rest, since whoever sends one means it; the platform's word before the token that
came with it, which the platform has checked. Two keys, or a key and a token, are refused: nobody
could say who asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from contracts.errors import Forbidden, Unauthenticated
from contracts.identity import Identity, Role
from contracts.jobs import DEFAULT_TENANT
from contracts.keys import read_key
from endpoints.clocks import Clocks
from policies.identity.api_keys import UNKNOWN, ApiKeys
from policies.identity.bounded import Bounded
from policies.identity.members import Members
from policies.identity.platform import given_principal, read_principal
from policies.identity.tokens import Tokens

PLATFORM_KEY = Identity(DEFAULT_TENANT, "platform-key", frozenset(Role))
"""Whoever asks when the app knows no tenants: the platform has checked the function key."""

TRUSTED_SECONDS = 300.0
"""How long what was proved is remembered: a key that its issuer takes back ends this soon."""
MOST_PROVED = 10_000

_KEYS_BEGIN = "sk-"
"""As OpenAI's keys do, which clients may send by mistake."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a tenant may use, whoever of it asks; None: everything."""

    models: frozenset[str] | None = None
    flows: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class MessageFacts:
    """What is known of a message by who brings it, not by who wrote it."""

    enqueued_at: datetime
    id: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class _Proved:
    identity: Identity
    until: float
    """By the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom tenants.yaml has the app believe."""

    platform: bool
    """Whether App Service authentication is on, and to be believed."""
    tenants: Mapping[str, Allowed]
    unsigned_tenant: str | None = None
    """Whose messages are those without a token."""


class Identities:
    """What this worker has proved, and how it proves."""

    def __init__(
        self,
        trust: Trust,
        members: Members,
        tokens: Tokens,
        keys: ApiKeys,
        clocks: Clocks | None = None,
    ) -> None:
        self._trust = trust
        self._members = members
        self._tokens = tokens
        self._keys = keys
        self._clocks = clocks or Clocks()
        self._proved: Bounded[bytes, _Proved] = Bounded(MOST_PROVED)
        """By the digest of the text: tokens themselves are not kept."""

    async def identify(self, headers: Mapping[str, str]) -> Identity:
        """Of the caller of an HTTP door. `headers` are looked up without regard to case.

        Raises Unauthenticated, Forbidden or DependencyUnavailable.
        """
        principal = given_principal(headers, trusted=self._trust.platform)
        bearer, key = _bearer(headers.get("authorization")), headers.get("api-key")
        if key is not None and bearer is not None and key != bearer:
            raise Unauthenticated("Two credentials were sent, in `api-key` and `Authorization`.")
        if key is not None or (bearer is not None and bearer.startswith(_KEYS_BEGIN)):
            return await self._of_key(key or bearer or "")
        if principal is not None:
            return self._of_principal(principal)
        if bearer is not None:
            return await self._of_token(bearer)
        raise Unauthenticated(
            "Nobody knows who asks: send `Authorization: Bearer` with an API key, or with a token"
            " of an issuer that this app knows."
        )

    async def identify_message(self, authorization: object, message: MessageFacts) -> Identity:
        """Of the producer of a message, from its property `authorization`; as `identify`.

        A token must have held when the broker took the message: it may have waited since.
        """
        if authorization is None:
            if (tenant := self._trust.unsigned_tenant) is None:
                raise Unauthenticated(
                    "The message has no property `authorization` with `Bearer` and a token."
                )
            return self._allowed(Identity(tenant, "service-bus", frozenset({Role.SUBMIT})))
        token = _bearer(authorization if isinstance(authorization, str) else "")
        if token is None or token.startswith(_KEYS_BEGIN):
            raise Unauthenticated(
                "A message proves whose it is with `Bearer` and a token: an API key would be there"
                " for everybody who reads the queue."
            )
        proved = await self._tokens.prove(token, message.enqueued_at.timestamp())
        proved.check_message(message.id, message.body)
        return self._allowed(self._members.identity(proved.claims))

    def of_tenant(self, tenant: str, subject: str) -> Identity | None:
        """One who may send requests for a tenant; None when there is no such tenant."""
        if tenant not in self._trust.tenants:
            return None
        return self._allowed(Identity(tenant, subject, frozenset({Role.SUBMIT})))

    async def _of_key(self, text: str) -> Identity:
        presented = read_key(text)
        if presented is None:
            raise Unauthenticated(UNKNOWN)
        return self._allowed(await self._keys.identity(presented))

    def _of_principal(self, header: str) -> Identity:
        digest = _digest("principal", header)
        if (known := self._known(digest)) is not None:
            return known
        identity = self._allowed(self._members.identity(read_principal(header)))
        return self._remember(digest, identity, TRUSTED_SECONDS)

    async def _of_token(self, token: str) -> Identity:
        digest = _digest("token", token)
        if (known := self._known(digest)) is not None:
            return known
        proved = await self._tokens.prove(token)
        if proved.signs_messages:
            raise Unauthenticated("The token was made for a message, and is of no use elsewhere.")
        identity = self._allowed(self._members.identity(proved.claims))
        left = proved.ends_at - self._clocks.now().timestamp()
        return self._remember(digest, identity, min(left, TRUSTED_SECONDS))

    def _known(self, digest: bytes) -> Identity | None:
        known = self._proved.get(digest)
        if known is None or known.until <= self._clocks.monotonic():
            return None
        return known.identity

    def _remember(self, digest: bytes, identity: Identity, seconds: float) -> Identity:
        until = self._clocks.monotonic() + seconds
        self._proved.put(digest, _Proved(identity, until))
        return identity

    def _allowed(self, identity: Identity) -> Identity:
        """With no more than the tenant itself may use. Raises Forbidden when there is none."""
        allowed = self._trust.tenants.get(identity.tenant)
        if allowed is None:
            raise Forbidden(
                f"{identity.subject} is of the tenant '{identity.tenant}', which tenants.yaml does"
                " not have."
            )
        if allowed.models is None and allowed.flows is None:
            return identity
        return replace(
            identity,
            models=_both(identity.models, allowed.models),
            flows=_both(identity.flows, allowed.flows),
        )


def _bearer(authorization: str | None) -> str | None:
    """What follows `Bearer`; None without the header. Raises Unauthenticated for another scheme."""
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("`Authorization` is not as expected: `Bearer` and a token.")
    return token.strip()


def _both(some: frozenset[str] | None, others: frozenset[str] | None) -> frozenset[str] | None:
    if some is None or others is None:
        return others if some is None else some
    return some & others


def _digest(kind: str, text: str) -> bytes:
    return hashlib.sha256(f"{kind} {text}".encode("utf-8", "surrogateescape")).digest()
