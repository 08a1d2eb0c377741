"""The tenants' rules of privacy, and redaction by them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import JsonValue

from contracts.privacy import Redacted
from policies.privacy.retention import of_all
from policies.privacy.settings import PrivacySettings
from policies.tenants import Tenants

if TYPE_CHECKING:  # its patterns take a while to compile: not at an import of the app
    from policies.privacy.redaction import TenantRedaction

type PrivacyOf = Callable[[str], PrivacySettings]
"""A tenant's rules; the same object each time."""


def privacy_of(tenants: Tenants, kept_for: timedelta | None) -> PrivacyOf:
    """`kept_for` is for an app that knows no tenants: how long it keeps everybody's."""
    if kept_for is not None and not tenants.names:
        everybody = of_all(kept_for)
        return lambda tenant: everybody
    return lambda tenant: tenants.of(tenant).privacy


class LazyRedaction:
    """A `Redaction`, loaded when a call is first to be searched."""

    def __init__(self, settings_of: PrivacyOf) -> None:
        self._settings_of = settings_of

    async def redacted(self, payload: JsonValue, tenant: str) -> Redacted | None:
        return await self._redaction.redacted(payload, tenant)

    @cached_property
    def _redaction(self) -> TenantRedaction:
        from policies.privacy.redaction import TenantRedaction

        return TenantRedaction(self._settings_of)
