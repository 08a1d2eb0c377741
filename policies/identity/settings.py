"""What tenants.yaml says of who is believed: `identity` and a tenant's `members`."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)
from yarl import URL

from endpoints.protocols.common_settings import Settings, expected

type Text = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^\S+$")]
type ClaimName = Annotated[str, StringConstraints(min_length=1, max_length=256)]
type ClaimValue = Annotated[str, StringConstraints(min_length=1, max_length=512)]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""Of a JSON Web Key: the parts that no verifier needs (RFC 7518, section 6)."""


def _keys_url(text: str) -> str:
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    safe = url.scheme == "https" or (url.scheme == "http" and url.host in _LOOPBACK)
    if not safe or not url.host or url.user or url.password or url.fragment:
        raise expected("an https:// URL without user, password or fragment; http:// on loopback")
    return text


def _public(keys: tuple[dict[str, JsonValue], ...]) -> tuple[dict[str, JsonValue], ...]:
    if not keys:
        raise expected("at least one")
    if any(key.get("kty") not in ("RSA", "EC", "OKP") or _PRIVATE & key.keys() for key in keys):
        raise expected("public keys of the types RSA, EC and OKP, without their private parts")
    return keys


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class IssuerSettings(Settings):
    """Whose bearer tokens (JWTs) are believed, and for whom they must have been made."""

    issuer: Text
    """The claim `iss`, to the letter."""
    audience: Annotated[tuple[Text, ...], BeforeValidator(_several), Field(min_length=1)]
    """One or several; the claim `aud` must hold one of them."""
    jwks_url: Annotated[str, AfterValidator(_keys_url)] | None = None
    """Where the issuer publishes its keys."""
    keys: Annotated[tuple[dict[str, JsonValue], ...], AfterValidator(_public)] | None = None
    """Or the keys themselves: public JSON Web Keys."""
    roles_claim: ClaimName = "roles"
    """A list, or a text with spaces between: sluice.submit, sluice.read, sluice.operate,
    sluice.bill. What else is in it is passed over."""
    required_claims: tuple[ClaimName, ...] = ()
    """Besides iss, aud, exp and sub."""
    clock_skew_seconds: Annotated[float, Field(ge=0, le=300)] = 60
    """By how much the issuer's clock may differ."""
    signs_messages: bool = False
    """Its tokens are made by a producer for one message each: they tell the message's id (`jti`)
    and the SHA-256 of its body in hexadecimal (`body_sha256`)."""

    @model_validator(mode="after")
    def _one_source_of_keys(self) -> IssuerSettings:
        if (self.jwks_url is None) == (self.keys is None):
            raise expected("exactly one of: jwks_url, keys")
        if self.signs_messages and self.keys is None:
            raise expected("keys, those of the producer, beside signs_messages")
        return self


class IdentitySettings(Settings):
    """The ways to prove who one is. API keys are always one."""

    platform: bool = False
    """Believe X-MS-CLIENT-PRINCIPAL, while the platform says that it sets it."""
    issuers: tuple[IssuerSettings, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> IdentitySettings:
        names = [each.issuer for each in self.issuers]
        if len(set(names)) < len(names):
            raise expected("each issuer once")
        return self


class MemberSettings(Settings):
    """Who belongs to a tenant: whose identity has this value in this claim."""

    issuer: Text
    """Of `identity.issuers`; or, proved by the platform: the claim `iss`, and for providers whose
    identities have none `platform:NAME`, such as platform:github."""
    claim: ClaimName
    value: ClaimValue
