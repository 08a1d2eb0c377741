"""What is known of a caller once their word has been proved, whoever proved it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue
from yarl import URL

_ENTRA_HOSTS = frozenset(
    {
        "login.microsoftonline.com",
        "login.microsoftonline.us",
        "login.partner.microsoftonline.cn",
        "sts.windows.net",
    }
)


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of one issuer."""

    issuer: str
    values: Mapping[str, JsonValue]

    def all_of(self, name: str) -> list[str]:
        """The texts of a claim: one, several, or none."""
        value = self.values.get(name)
        found = value if isinstance(value, list) else [value]
        return [each for each in found if isinstance(each, str)]

    @property
    def subject(self) -> str:
        """As the audit log names them. Of Entra ID the object id, which is the same for every app;
        `sub` is another for each."""
        [first, *_] = self.all_of("oid") or [""]
        if first and URL(self.issuer).host in _ENTRA_HOSTS:
            return f"entra:{first}"
        [first, *_] = self.all_of("sub") or [""]
        return f"{self.issuer}#{first}"
