"""Ids: unguessable, and sorted newest first as names in Blob Storage are listed."""

from __future__ import annotations

import re
import secrets
from datetime import datetime

_LAST_MILLISECOND = 10**14 - 1  # the year 5138
_REST = re.compile(r"\d{14}[0-9a-f]{20}")

_JOB, _FILE, _BATCH = "job_", "file-", "batch_"


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


def _new(prefix: str, created_at: datetime) -> str:
    remaining = _LAST_MILLISECOND - int(created_at.timestamp() * 1000)
    return f"{prefix}{remaining:014d}{secrets.token_hex(10)}"


def _is(prefix: str, text: str) -> bool:
    return text.startswith(prefix) and _REST.fullmatch(text.removeprefix(prefix)) is not None
