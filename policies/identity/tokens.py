"""Bearer tokens: JSON Web Tokens (RFC 7519) of issuers that tenants.yaml names."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from contracts.errors import Unauthenticated
from endpoints.clocks import Clocks
from endpoints.wire import Wire
from policies.identity.claims import Claims
from policies.identity.settings import IssuerSettings
from policies.identity.signing_keys import ALGORITHMS, GivenKeys, PublishedKeys, SigningKeys

LONGEST = 16 * 1024
"""Characters. Entra ID's tokens have up to 8,000 or so."""
REQUIRED = ("iss", "aud", "exp", "sub")


@dataclass(frozen=True, slots=True)
class ProvedToken:
    """A token that holds."""

    claims: Claims
    ends_at: float
    """Seconds of the epoch from which on it does not."""
    signs_messages: bool

    def check_message(self, message_id: str | None, body: bytes) -> None:
        """Raises Unauthenticated when the token was made for another message."""
        if not self.signs_messages:
            return
        values = self.claims.values
        digest = hashlib.sha256(body).hexdigest()
        if not message_id or not _same(values.get("jti"), message_id):
            raise Unauthenticated("The token's `jti` is not the message's id.")
        if not _same(values.get("body_sha256"), digest):
            raise Unauthenticated("The token's `body_sha256` is not that of the message's body.")


@dataclass(frozen=True, slots=True)
class _Issuer:
    settings: IssuerSettings
    keys: SigningKeys


class Tokens:
    """Checks tokens; keeps none."""

    def __init__(
        self, issuers: Iterable[IssuerSettings], wire: Wire, clocks: Clocks | None = None
    ) -> None:
        self._clocks = clocks or Clocks()
        self._issuers = {
            each.issuer: _Issuer(each, _keys_of(each, wire, self._clocks)) for each in issuers
        }

    async def prove(self, token: str, at: float | None = None) -> ProvedToken:
        """What a token proves at a time, by default now.

        Raises Unauthenticated, or DependencyUnavailable while the issuer's keys are not known.
        """
        from jwt import decode
        from jwt.exceptions import PyJWTError

        header, told = _read(token)
        name = told.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise Unauthenticated("The token is of no issuer that this app knows.")
        key = await issuer.keys.find(header.get("kid"))
        if key is None:
            raise Unauthenticated("The token is signed with no key that its issuer publishes.")
        settings = issuer.settings
        try:
            values = decode(
                token,
                key,  # which is bound to one algorithm
                algorithms=[key.algorithm_name],
                issuer=settings.issuer,
                audience=settings.audience,
                options={
                    "require": [*REQUIRED, *settings.required_claims],
                    # Of one's own, since they may be about another time than this one.
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except PyJWTError as error:
            raise Unauthenticated(_reason(error)) from None
        moment = self._clocks.now().timestamp() if at is None else at
        ends_at = _check_times(values, moment, settings.clock_skew_seconds)
        return ProvedToken(Claims(settings.issuer, values), ends_at, settings.signs_messages)


def _keys_of(settings: IssuerSettings, wire: Wire, clocks: Clocks) -> SigningKeys:
    if settings.jwks_url is not None:
        return PublishedKeys(settings.jwks_url, wire, clocks.monotonic)
    assert settings.keys is not None
    return GivenKeys(settings.keys)


def _read(token: str) -> tuple[dict[str, Any], Mapping[str, JsonValue]]:
    """Header and claims of a token of which nothing is proved yet. Raises Unauthenticated."""
    from jwt import decode_complete
    from jwt.exceptions import PyJWTError

    if len(token) > LONGEST:
        raise Unauthenticated(f"The token is longer than {LONGEST:,} characters.")
    try:
        read = decode_complete(token, options={"verify_signature": False})
    except (PyJWTError, ValueError, RecursionError):
        raise Unauthenticated("The bearer token is neither a JWT nor an API key.") from None
    header, told = read["header"], read["payload"]
    if str(header.get("alg")) not in ALGORITHMS:
        raise Unauthenticated(
            f"The token is not signed with one of {', '.join(sorted(ALGORITHMS))}."
        )
    return header, told


def _reason(error: Exception) -> str:
    from jwt import exceptions as jwt

    match error:
        case jwt.MissingRequiredClaimError():
            return f"The token has no claim `{error.claim}`."
        case jwt.InvalidAudienceError():
            return "The token was made for another audience than this app."
        case jwt.InvalidAlgorithmError():
            return "The token is signed with another algorithm than its key is for."
        case jwt.InvalidSignatureError():
            return "The token's signature does not hold."
    return "The token does not hold."


def _check_times(values: Mapping[str, Any], moment: float, skew: float) -> float:
    """When the token ends, the skew included. Raises Unauthenticated."""
    exp, nbf, iat = (_seconds(values, name) for name in ("exp", "nbf", "iat"))
    assert exp is not None, "it is required"
    if moment >= exp + skew:
        raise Unauthenticated("The token has expired.")
    if any(start is not None and moment < start - skew for start in (nbf, iat)):
        raise Unauthenticated("The token is not valid yet.")
    return exp + skew


def _seconds(values: Mapping[str, Any], name: str) -> float | None:
    value = values.get(name)
    if value is None and name != "exp":
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise Unauthenticated(f"The token's claim `{name}` is no time.")
    return value


def _same(given: object, expected: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(given.encode(), expected.encode())
