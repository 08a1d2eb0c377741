"""API keys: `keys/ID` in a container of their own, each with the digest of the key, not the key.

A key is never deleted by whoever revokes it: who had what is to be seen later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from itertools import batched

from pydantic import BaseModel, ConfigDict

from contracts.errors import Conflict
from contracts.identity import Role
from stores.blobs import Container

_PREFIX = "keys/"
PAGE = 5000
"""The most names that Blob Storage lists at once."""
READ_AT_ONCE = 50


class StoredKey(BaseModel):
    """What is kept of a key."""

    model_config = ConfigDict(extra="forbid")

    id: str
    tenant: str
    roles: frozenset[Role]
    models: frozenset[str] | None = None
    """Of the models that the tenant may use, those that the key may; None: all of them."""
    flows: frozenset[str] | None = None
    """As `models`, of the flows."""
    digest: str
    """See `contracts.keys`."""
    created_at: datetime
    created_by: str
    """The `Identity.subject` of whoever had it issued."""
    expires_at: datetime | None = None
    """From then on it opens nothing; None: it does not expire."""
    revoked_at: datetime | None = None
    """As `expires_at`: a time to come leaves time to change over to another key."""
    replaced_by: str | None = None
    """The id of the key that was issued in its place."""
    note: str | None = None


class KeyStore:
    """Methods raise DependencyUnavailable when storage cannot be used."""

    def __init__(self, container: Container) -> None:
        self._blobs = container

    async def get(self, key_id: str) -> StoredKey | None:
        """None when there is no such key."""
        stored = await self._blobs.get(f"{_PREFIX}{key_id}")
        return None if stored is None else StoredKey.model_validate_json(stored)

    async def ids(self) -> set[str]:
        """The ids of all keys."""
        found: set[str] = set()
        token: str | None = None
        while True:
            page = await self._blobs.page(_PREFIX, token=token, most=PAGE)
            found.update(page.names)
            token = page.token
            if token is None:
                return found

    async def page(
        self, *, tenant: str | None, after: str | None, most: int
    ) -> tuple[list[StoredKey], bool]:
        """Up to `most` keys in the order of their ids, from the one after `after` on, of one tenant
        or of all; and whether there are more."""
        found: list[StoredKey] = []
        names = sorted(name for name in await self.ids() if after is None or name > after)
        for some in batched(names, READ_AT_ONCE, strict=False):
            for key in await asyncio.gather(*(self.get(name) for name in some)):
                if key is None or tenant not in (None, key.tenant):
                    continue
                if len(found) == most:
                    return found, True
                found.append(key)
        return found, False

    async def add(self, key: StoredKey) -> None:
        """Keep a new key. Raises Conflict should there be one with its id."""
        if not await self._blobs.put_new(f"{_PREFIX}{key.id}", key.model_dump_json().encode()):
            raise Conflict("There is a key with this id already. Try again.")

    async def change(
        self, key_id: str, changed: Callable[[StoredKey], StoredKey]
    ) -> StoredKey | None:
        """The key as `changed` makes it of what it is by then; None when there is no such key.

        What `changed` raises leaves the key as it was.
        """
        name = f"{_PREFIX}{key_id}"
        while (found := await self._blobs.look(name)) is not None:
            try:
                pieces = [piece async for piece in self._blobs.read_as(name, found.etag)]
            except Conflict:  # changed by another since: look again
                continue
            key = changed(StoredKey.model_validate_json(b"".join(pieces)))
            if await self._blobs.put_as(name, key.model_dump_json().encode(), found.etag):
                return key
        return None
