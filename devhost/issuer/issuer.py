"""An issuer: a name, keys, and tokens signed with the newest of them."""

from __future__ import annotations

import time
from collections.abc import Mapping

import jwt
from pydantic import JsonValue
from pydantic_core import to_json

from devhost.issuer.signing_key import Algorithm, SigningKey

LIFE_SECONDS = 3600.0


class Issuer:
    """What it publishes is `keys`, which tests may change as they like."""

    def __init__(self, name: str, audience: str, algorithm: Algorithm = "RS256") -> None:
        self.name = name
        self.audience = audience
        self.keys = [SigningKey.make(algorithm)]

    @property
    def published(self) -> dict[str, JsonValue]:
        """As `jwks_url` gives it (RFC 7517)."""
        return {"keys": [key.published for key in self.keys]}

    def roll_over(self, *, keep: bool = True) -> SigningKey:
        """Sign with a new key from now on; publish the former too, unless it is not to be kept.

        The former key is returned.
        """
        former = self.keys[-1]
        new = SigningKey.make(former.algorithm)
        self.keys = [*self.keys, new] if keep else [new]
        return former

    def token(
        self, claims: Mapping[str, JsonValue] | None = None, *, key: SigningKey | None = None
    ) -> str:
        """A token of these claims, over those that every token has; None leaves one out."""
        now = time.time()
        usual: dict[str, JsonValue] = {
            "iss": self.name,
            "aud": self.audience,
            "sub": "somebody",
            "iat": now,
            "nbf": now,
            "exp": now + LIFE_SECONDS,
        }
        told = usual | dict(claims or {})
        signing = key or self.keys[-1]
        # Not by `jwt.encode`, which makes no token of claims that are not as they should be.
        return jwt.PyJWS().encode(
            to_json({name: value for name, value in told.items() if value is not None}),
            signing.private,
            algorithm=signing.algorithm,
            headers={"kid": signing.id},
        )
