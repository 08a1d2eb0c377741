"""Issuing, rotating and revoking API keys. Each is in the audit log before it is done.

Nobody gives away what they do not have: a key has no role, model or flow that whoever asks for it
has not, whether it is a new one or the successor of one that had more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from contracts.audit import AuditAction
from contracts.errors import Conflict, DependencyUnavailable, Forbidden, InvalidRequest, NotFound
from contracts.identity import Identity
from contracts.key_records import KeyRequest, KeyStatus, RotationRequest
from contracts.keys import NewKey, is_key_id, new_key
from contracts.problems import FieldProblem
from stores.audit import AuditLog
from stores.keys import KeyStore, StoredKey

_KEY = "key:"
"""Begins the subject of a caller who came with a key."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Issued:
    """A key that was made just now: the one time that its text is known."""

    key: StoredKey
    text: str
    replaces: StoredKey | None = None


@dataclass(frozen=True, slots=True)
class KeyIssuing:
    """Methods raise DependencyUnavailable, with nothing done, when it cannot be noted."""

    keys: KeyStore
    audit: AuditLog
    now: Callable[[], datetime] = _utc_now

    async def issue(self, who: Identity, asked: KeyRequest) -> Issued:
        """A new key. Raises Forbidden when it would have more rights than who asks for it."""
        now, made = self.now(), new_key()
        _check_expiry(asked.expires_at, now)
        key = StoredKey(
            id=made.id,
            tenant=asked.tenant,
            roles=asked.roles,
            models=asked.models,
            flows=asked.flows,
            digest=made.digest,
            created_at=now,
            created_by=who.subject,
            expires_at=asked.expires_at,
            note=asked.note,
        )
        await self._check_rights(who, key)
        async with self.audit.recorded(
            who,
            AuditAction.KEY_ISSUED,
            key.id,
            tenant=key.tenant,
            roles=_names(key.roles),
            models=None if key.models is None else _names(key.models),
            flows=None if key.flows is None else _names(key.flows),
            expires_at=key.expires_at.isoformat() if key.expires_at else None,
        ):
            await self.keys.add(key)
        return Issued(key, made.text)

    async def rotate(self, who: Identity, key_id: str, asked: RotationRequest) -> Issued:
        """A new key with the rights of an old one, which goes on for a while.

        Raises NotFound; Forbidden as `issue`; Conflict when the old one has ended, or has a
        successor.
        """
        old = await self.find(key_id)
        now, made = self.now(), new_key()
        await self._check_rights(who, old)
        _check_expiry(asked.expires_at, now)
        ends_at = now + timedelta(seconds=asked.grace_seconds)
        _retired(old, made.id, now, ends_at)
        key = _successor(old, made, who, now, asked.expires_at or old.expires_at)
        async with self.audit.recorded(
            who,
            AuditAction.KEY_ROTATED,
            old.id,
            tenant=old.tenant,
            replaced_by=key.id,
            grace_seconds=asked.grace_seconds,
        ):
            await self.keys.add(key)
            try:
                retired = await self._change(
                    old.id, lambda known: _retired(known, key.id, now, ends_at)
                )
            except Exception:
                with suppress(DependencyUnavailable):  # nobody has it
                    await self._change(key.id, lambda known: _revoked(known, now))
                raise
        return Issued(key, made.text, retired)

    async def revoke(self, who: Identity, key_id: str) -> StoredKey:
        """The key, which opens nothing from now on. Raises NotFound."""
        key, now = await self.find(key_id), self.now()
        if status_of(key, now) is KeyStatus.REVOKED:
            return key
        async with self.audit.recorded(who, AuditAction.KEY_REVOKED, key.id, tenant=key.tenant):
            return await self._change(key.id, lambda known: _revoked(known, now))

    async def find(self, key_id: str) -> StoredKey:
        """Raises NotFound."""
        key = await self.keys.get(key_id) if is_key_id(key_id) else None
        if key is None:
            raise _no_such_key()
        return key

    async def _check_rights(self, who: Identity, key: StoredKey) -> None:
        """Raises Forbidden when the key has a right that the caller has not."""
        if missing := key.roles - who.roles:
            raise Forbidden(f"The key would have what you have not: {', '.join(_names(missing))}.")
        # Not `who.models`: what the tenant of an operator may call is no limit for others' keys.
        own = await self.keys.get(who.subject.removeprefix(_KEY)) if _is_key(who) else None
        if own is None:
            return
        for kind, theirs, its in (
            ("models", own.models, key.models),
            ("flows", own.flows, key.flows),
        ):
            if theirs is not None and (its is None or its - theirs):
                raise Forbidden(f"The key would be for {kind} that yours is not for.")

    async def _change(self, key_id: str, changed: Callable[[StoredKey], StoredKey]) -> StoredKey:
        key = await self.keys.change(key_id, changed)
        if key is None:
            raise _no_such_key()
        return key


def _is_key(who: Identity) -> bool:
    return who.subject.startswith(_KEY)


def status_of(key: StoredKey, now: datetime) -> KeyStatus:
    """Whether the key opens anything, and for how long still."""
    if key.revoked_at is not None and key.revoked_at <= now:
        return KeyStatus.REVOKED
    if key.expires_at is not None and key.expires_at <= now:
        return KeyStatus.EXPIRED
    return KeyStatus.ACTIVE if key.revoked_at is None else KeyStatus.RETIRING


def _check_expiry(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        expected = "a time to come"
        raise InvalidRequest(
            f"`expires_at` is not as expected: {expected}.",
            [FieldProblem(field="expires_at", expected=expected)],
        )


def _successor(
    old: StoredKey, made: NewKey, who: Identity, now: datetime, expires_at: datetime | None
) -> StoredKey:
    return old.model_copy(
        update={
            "id": made.id,
            "digest": made.digest,
            "created_at": now,
            "created_by": who.subject,
            "expires_at": expires_at,
        }
    )


def _retired(key: StoredKey, successor: str, now: datetime, ends_at: datetime) -> StoredKey:
    """Raises Conflict when it has ended, or has a successor."""
    status = status_of(key, now)
    if status in (KeyStatus.REVOKED, KeyStatus.EXPIRED):
        raise Conflict(f"The key is {status}: issue a new one.")
    if key.revoked_at is not None:
        raise Conflict(f"The key was rotated before: {key.replaced_by} is in its place.")
    return key.model_copy(update={"revoked_at": ends_at, "replaced_by": successor})


def _revoked(key: StoredKey, now: datetime) -> StoredKey:
    return key.model_copy(update={"revoked_at": min(key.revoked_at or now, now)})


def _names(words: Iterable[str]) -> list[str]:
    return sorted(words)


def _no_such_key() -> NotFound:
    return NotFound("There is no such key: use an `id` of `GET /v1/keys`.")
