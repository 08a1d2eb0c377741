"""Ids: unguessable, and sorted newest first as names in Blob Storage are listed."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import UTC, datetime

_LAST_MILLISECOND = 10**14 - 1  # the year 5138
_REST = re.compile(r"\d{14}[0-9a-f]{20}")

_JOB, _FILE, _BATCH, _AUDIT = "job_", "file-", "batch_", "audit_"


def new_job_id(created_at: datetime) -> str:
    """An id for a job created at this (aware) time; 80 bits of it are random."""
    return _new(_JOB, created_at)


def is_job_id(text: str) -> bool:
    """Whether `new_job_id` could have made this."""
    return _is(_JOB, text)


def new_file_id(created_at: datetime) -> str:
    """As `new_job_id`, for a file."""
    return _new(_FILE, created_at)


def is_file_id(text: str) -> bool:
    return _is(_FILE, text)


def new_batch_id(created_at: datetime) -> str:
    """As `new_job_id`, for a batch."""
    return _new(_BATCH, created_at)


def is_batch_id(text: str) -> bool:
    return _is(_BATCH, text)


def new_audit_id(created_at: datetime, seed: str | None = None) -> str:
    """As `new_job_id`, for an event of the audit log. With a seed it is not random, but the same
    for the same seed and time."""
    return _new(_AUDIT, created_at, seed)


def is_audit_id(text: str) -> bool:
    return _is(_AUDIT, text)


def time_of(made: str) -> datetime:
    """When the thing with this id was created, to the millisecond (UTC)."""
    remaining = int(made[-34:-20])
    return datetime.fromtimestamp((_LAST_MILLISECOND - remaining) / 1000, UTC)


def _new(prefix: str, created_at: datetime, seed: str | None = None) -> str:
    remaining = _LAST_MILLISECOND - int(created_at.timestamp() * 1000)
    rest = secrets.token_hex(10) if seed is None else hashlib.sha256(seed.encode()).hexdigest()[:20]
    return f"{prefix}{remaining:014d}{rest}"


def _is(prefix: str, text: str) -> bool:
    return text.startswith(prefix) and _REST.fullmatch(text.removeprefix(prefix)) is not None
