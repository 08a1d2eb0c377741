"""Issuers, keys and clocks for tests of who asks."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from contracts.errors import DependencyUnavailable
from contracts.identity import Role
from contracts.keys import NewKey, new_key
from devhost.issuer.issuer import Issuer
from devhost.issuer.signing_key import Algorithm, SigningKey
from endpoints.clocks import Clocks
from endpoints.wire import Limits, NoReply, Reply, Request
from policies.identity.api_keys import ApiKeys
from policies.identity.identities import Allowed, Identities, Trust
from policies.identity.members import Members
from policies.identity.settings import IssuerSettings, MemberSettings
from policies.identity.tokens import Tokens
from stores.keys import StoredKey

AUDIENCE = "sluice"
KEYS_URL = "https://issuer.example/keys"
ISSUER = "https://issuer.example"


_made = cache(SigningKey.make)  # RSA keys take their time


def signing_key(algorithm: Algorithm = "ES256") -> SigningKey:
    """The same each time."""
    return _made(algorithm)


def issuer(name: str = ISSUER, algorithm: Algorithm = "ES256") -> Issuer:
    made = Issuer(name, AUDIENCE, "ES256")
    made.keys = [signing_key(algorithm)]
    return made


@dataclass
class Published:
    """The wire to an issuer's keys."""

    issuer: Issuer
    down: bool = False
    sent: int = 0
    body: bytes | None = None
    """In place of the keys."""

    async def send(
        self, request: Request, headers: Mapping[str, str], limits: Limits
    ) -> Reply | NoReply:
        self.sent += 1
        await asyncio.sleep(0)
        if self.down:
            return NoReply(sent=False, reason="connection refused")
        body = json.dumps(self.issuer.published).encode() if self.body is None else self.body
        return Reply(200, {}, body)

    async def open(self, *_: Any) -> Any:
        raise AssertionError("keys are no stream")

    async def aclose(self) -> None: ...


@dataclass
class Time:
    """Both clocks, moved by the test."""

    seconds: float = 0.0
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return self.began + timedelta(seconds=self.seconds)

    def epoch(self) -> float:
        return self.now().timestamp()

    @property
    def clocks(self) -> Clocks:
        return Clocks(now=self.now, monotonic=self.monotonic)


@dataclass
class StoredKeys:
    """Storage of keys that counts what is asked of it."""

    kept: dict[str, StoredKey] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    down: bool = False

    async def get(self, key_id: str) -> StoredKey | None:
        await self._begin("get")
        return self.kept.get(key_id)

    async def ids(self) -> set[str]:
        await self._begin("ids")
        return set(self.kept)

    async def _begin(self, operation: str) -> None:
        self.calls[operation] += 1
        await asyncio.sleep(0)
        if self.down:
            raise DependencyUnavailable("Storage is down.")

    def issue(self, tenant: str = "research", roles: Iterable[Role] = Role, **rest: Any) -> NewKey:
        made = new_key()
        self.kept[made.id] = StoredKey(
            id=made.id,
            tenant=tenant,
            roles=frozenset(roles),
            digest=made.digest,
            created_at=datetime.now(UTC),
            created_by="test",
            **rest,
        )
        return made

    def change(self, key_id: str, **fields: Any) -> None:
        self.kept[key_id] = self.kept[key_id].model_copy(update=fields)


def issuer_settings(**fields: Any) -> IssuerSettings:
    given = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": KEYS_URL} | fields
    return IssuerSettings.model_validate(
        {name: value for name, value in given.items() if value is not None}
    )


def member(tenant: str, issuer: str = ISSUER, claim: str = "groups") -> MemberSettings:
    return MemberSettings(issuer=issuer, claim=claim, value=tenant)


@dataclass
class World:
    """An app with the tenants `research` and `sales`, one issuer, and keys in storage."""

    issuer: Issuer = field(default_factory=issuer)
    settings: tuple[IssuerSettings, ...] = field(default_factory=lambda: (issuer_settings(),))
    tenants: Mapping[str, Allowed] = field(
        default_factory=lambda: {"research": Allowed(), "sales": Allowed()}
    )
    platform: bool = False
    unsigned_tenant: str | None = None

    def __post_init__(self) -> None:
        self.time = Time()
        self.wire = Published(self.issuer)
        self.stored = StoredKeys()
        issuers = [each.issuer for each in self.settings]
        rules = {name: [member(name, each) for each in issuers] for name in self.tenants}
        self.identities = Identities(
            Trust(self.platform, self.tenants, self.unsigned_tenant),
            Members(rules, self.settings),
            Tokens(self.settings, self.wire, self.time.clocks),
            ApiKeys(self.stored, self.time.clocks),
            self.time.clocks,
        )

    def token(self, tenant: str = "research", *roles: Role, **claims: Any) -> str:
        told = {"groups": [tenant], "roles": [f"sluice.{role}" for role in roles or Role]}
        return self.issuer.token(told | claims)
