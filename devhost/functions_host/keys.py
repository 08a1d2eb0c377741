"""Access keys: which of them opens what, as the Functions host has it."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

KEY_HEADER = "x-functions-key"
KEY_PARAMETER = "code"


class Access(StrEnum):
    """What a caller must prove; the first three are the auth levels of HTTP triggers."""

    ANONYMOUS = "anonymous"
    FUNCTION = "function"
    ADMIN = "admin"
    SYSTEM = "system"
    """The webhooks of extensions, such as the durable HTTP API."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The host's keys. The master key opens everything."""

    function: str
    system: str
    master: str

    @classmethod
    def single(cls, key: str) -> Keys:
        return cls(function=key, system=key, master=key)

    def permit(self, access: Access, presented: str | None) -> bool:
        if access is Access.ANONYMOUS:
            return True
        if presented is None:
            return False
        return any(_same(key, presented) for key in self._opening(access))

    def _opening(self, access: Access) -> tuple[str, ...]:
        match access:
            case Access.FUNCTION:
                return (self.function, self.master)
            case Access.SYSTEM:
                return (self.system, self.master)
            case _:
                return (self.master,)


def _same(key: str, presented: str) -> bool:
    return hmac.compare_digest(key.encode(), presented.encode("utf-8", "surrogateescape"))


def presented_key(headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """The key that a request brings; the header goes before the query string."""
    return headers.get(KEY_HEADER) or query.get(KEY_PARAMETER)
