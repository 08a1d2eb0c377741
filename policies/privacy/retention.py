"""How long what has ended is kept, by the tenant's rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from contracts.batches import FileObject
from policies.privacy.settings import PrivacySettings, RetentionSettings


def of_all(duration: timedelta) -> PrivacySettings:
    """The rules of everybody, where the app knows no tenants."""
    return PrivacySettings(
        retention=RetentionSettings(
            requests=duration, results=duration, files=duration, batches=duration
        )
    )


def dated(file: FileObject, rules: RetentionSettings) -> FileObject:
    """The file with the time of its expiry, if it has one."""
    if rules.files is None:
        return file
    expires_at = file.created_at + int(rules.files.total_seconds())
    return file.model_copy(update={"expires_at": expires_at})


def expired(file: FileObject, rules: RetentionSettings, now: datetime | None = None) -> bool:
    """Whether it is not to be found any more, be it deleted already or not."""
    expires_at = dated(file, rules).expires_at
    return expires_at is not None and expires_at <= (now or datetime.now(UTC)).timestamp()
