"""An issuer's public keys: given, or fetched and kept (RFC 7517).

What is fetched is used for MAX_AGE_SECONDS, so that a key which its issuer takes back ends then;
keys in use are fetched anew in the background before that, and no call waits. A key that is not
known is asked for at once, since issuers roll their keys over, but not again within PAUSE_SECONDS:
whoever invents key ids costs the issuer nothing. While the issuer cannot be reached the keys count
for another STALE_SECONDS.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from pydantic import JsonValue
from pydantic_core import from_json
from yarl import URL

from contracts.errors import DependencyUnavailable
from endpoints.wire import Limits, Reply, Request, Wire

if TYPE_CHECKING:  # what it imports is left to the first token
    from jwt import PyJWK

_log = logging.getLogger("sluice.identity")

MAX_AGE_SECONDS = 600.0
RENEW_SECONDS = 480.0
STALE_SECONDS = 24 * 3600.0
PAUSE_SECONDS = 15.0
RETRY_SECONDS = 2.0
"""In place of PAUSE_SECONDS, when the last try failed."""
MOST_KEYS = 100
LEAST_RSA_BITS = 2048
"""RFC 7518, section 3.3."""

ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""With a public key each. `none` needs no key, and HS256 would take a public key for a secret."""

_LIMITS = Limits(seconds=5.0, connect_seconds=2.0, answer_bytes=1024 * 1024)


class SigningKeys(Protocol):
    async def find(self, key_id: str | None) -> PyJWK | None:
        """The key of this id; None when there is none. Without an id: the only key, if one is.

        Raises DependencyUnavailable when nobody knows.
        """
        ...


class GivenKeys:
    """Those of tenants.yaml."""

    def __init__(self, keys: Iterable[Mapping[str, JsonValue]]) -> None:
        self._given = list(keys)
        self._keys: dict[str | None, PyJWK] | None = None

    async def find(self, key_id: str | None) -> PyJWK | None:
        if self._keys is None:
            self._keys = usable(self._given)
        return self._keys.get(key_id)


class PublishedKeys:
    """Those behind an issuer's `jwks_url`."""

    def __init__(self, url: str, wire: Wire, clock: Callable[[], float] = monotonic) -> None:
        self._request = Request(URL(url), {"accept": "application/json"}, b"", "GET")
        self._wire = wire
        self._clock = clock
        self._keys: dict[str | None, PyJWK] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._failed = False
        """Whether the last try did."""
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: str | None) -> PyJWK | None:
        age = self._clock() - self._fetched_at
        if age > MAX_AGE_SECONDS + STALE_SECONDS:
            self._keys = {}
        found = self._keys.get(key_id)
        if found is not None and age <= RENEW_SECONDS:
            return found
        fetching = self._fetch()
        if found is not None and age <= MAX_AGE_SECONDS:
            return found
        if fetching is not None:
            # One who leaves does not take the keys away from those who wait for them too.
            await asyncio.shield(fetching)
            found = self._keys.get(key_id)
        if found is None and self._failed:
            raise DependencyUnavailable(
                "The keys of the token's issuer cannot be read now: try again in a few seconds."
            )
        return found

    def _fetch(self) -> asyncio.Task[None] | None:
        """A try that is under way, or begins now; None when it is too soon for another."""
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        pause = RETRY_SECONDS if self._failed else PAUSE_SECONDS
        if self._clock() - self._tried_at < pause:
            return None
        self._tried_at = self._clock()
        self._fetching = asyncio.get_running_loop().create_task(
            self._fetched(), name="signing-keys", context=Context()
        )
        return self._fetching

    async def _fetched(self) -> None:
        """Raises nothing: what there was stays as it is when this fails."""
        answer = await self._wire.send(self._request, {}, _LIMITS)
        keys: dict[str | None, PyJWK] = {}
        if isinstance(answer, Reply) and answer.status == 200 and answer.body is not None:
            keys = usable(_listed(answer.body))
        self._failed = not keys
        if self._failed:
            _log.warning("no keys could be read from %s", self._request.url.host)
        else:
            self._keys, self._fetched_at = keys, self._clock()


def usable(given: Iterable[object]) -> dict[str | None, PyJWK]:
    """Public keys for signatures, by their ids; the only one also under None.

    What else is there is passed over: issuers publish keys for encryption too, and new kinds.
    """
    keys: dict[str | None, PyJWK] = {}
    for data in given:
        if isinstance(data, dict) and (key := _key(data)) is not None:
            keys[key.key_id] = key
    if len(keys) == 1:
        keys[None] = next(iter(keys.values()))
    elif None in keys:  # one without an id, among others
        del keys[None]
    return keys


def _key(data: dict[str, JsonValue]) -> PyJWK | None:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from jwt import PyJWK
    from jwt.exceptions import InvalidKeyError, PyJWTError

    if not _is_for_signatures(data):
        return None
    try:
        key = PyJWK(data)
    except (InvalidKeyError, PyJWTError, ValueError, TypeError, KeyError):
        return None
    if key.algorithm_name not in ALGORITHMS:  # ES256K, which goes by the curve
        return None
    short = isinstance(key.key, RSAPublicKey) and key.key.key_size < LEAST_RSA_BITS
    return None if short else key


def _is_for_signatures(data: dict[str, JsonValue]) -> bool:
    return (
        data.get("kty") in ("RSA", "EC", "OKP")
        and data.get("use", "sig") == "sig"
        and str(data.get("alg", "RS256")) in ALGORITHMS
        and isinstance(data.get("kid", ""), str)
    )


def _listed(body: bytes) -> list[object]:
    try:
        answer = from_json(body)
    except ValueError:
        return []
    keys = answer.get("keys") if isinstance(answer, dict) else None
    return keys[:MOST_KEYS] if isinstance(keys, list) else []
