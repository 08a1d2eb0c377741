"""Ids of jobs: unguessable, and sorted newest first as names in Blob Storage are listed."""

from __future__ import annotations

import re
import secrets
from datetime import datetime

_LAST_MILLISECOND = 10**14 - 1  # the year 5138
_ID = re.compile(r"job_\d{14}[0-9a-f]{20}")


def new_job_id(created_at: datetime) -> str:
    """An id for a job created at this (aware) time; 80 bits of it are random."""
    remaining = _LAST_MILLISECOND - int(created_at.timestamp() * 1000)
    return f"job_{remaining:014d}{secrets.token_hex(10)}"


def is_job_id(text: str) -> bool:
    """Whether `new_job_id` could have made this."""
    return _ID.fullmatch(text) is not None
