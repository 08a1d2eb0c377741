"""A call's payload without the personal data in it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import batched, chain

from pydantic import JsonValue

from contracts.privacy import EventRewriter
from policies.privacy import texts
from policies.privacy.detectors import Patterns
from policies.privacy.events import EventRestorer
from policies.privacy.finding import AllOf, Finder, Found, merged
from policies.privacy.patterns import TenantPatterns, compiled, encodable
from policies.privacy.placeholders import PLACEHOLDER, Placeholders
from policies.privacy.presidio import Presidio
from policies.privacy.settings import PrivacySettings

SHORTEST_ELSEWHERE = 6
"""Characters of a value that is taken out also where its surroundings hid it from the detectors."""
MOST_ONE_BY_ONE = 64
"""Values that are looked for one after the other."""
AT_ONCE = 500
"""Values that are looked for at once where there are more."""

LARGE = 200_000
"""Characters that are searched in a thread: they take a hundredth of a second."""

type SettingsOf = Callable[[str], PrivacySettings]


class TenantRedaction:
    """The `Redaction` of all tenants."""

    def __init__(self, settings_of: SettingsOf) -> None:
        self._settings_of = settings_of
        self._finders: dict[str, tuple[PrivacySettings, Finder]] = {}

    async def redacted(self, payload: JsonValue, tenant: str) -> RedactedPayload | None:
        """See `contracts.privacy.Redaction`."""
        settings = self._settings_of(tenant)
        finder = self._finder(tenant, settings)
        searched = list(dict.fromkeys(texts.texts(payload)))
        work = partial(_redact, payload, searched, finder, restore=settings.restore)
        if settings.presidio is not None or sum(map(len, searched)) > LARGE:
            return await asyncio.to_thread(work)
        return work()

    def _finder(self, tenant: str, settings: PrivacySettings) -> Finder:
        known = self._finders.get(tenant)
        if known is None or known[0] is not settings:
            known = self._finders[tenant] = (settings, finder_of(settings))
        return known[1]


def finder_of(settings: PrivacySettings) -> Finder:
    """All that looks for what a tenant's settings name."""
    finders: list[Finder] = [Patterns.of(settings.kinds)]
    if settings.patterns:
        finders.append(TenantPatterns.of(settings.patterns))
    if settings.presidio is not None:
        finders.append(Presidio(settings.presidio, settings.language))
    return AllOf(finders)


def _redact(
    payload: JsonValue, searched: Sequence[str], finder: Finder, *, restore: bool
) -> RedactedPayload | None:
    found: dict[str, list[Found]] = {}
    for text in searched:
        if parts := list(finder.find(text)):
            found[text] = parts
    return RedactedPayload(payload, searched, found, restore=restore) if found else None


class RedactedPayload:
    """See `contracts.privacy.Redacted`."""

    def __init__(
        self,
        payload: JsonValue,
        searched: Sequence[str],
        found: Mapping[str, list[Found]],
        *,
        restore: bool,
    ) -> None:
        """`searched` are its texts, `found` what was found in which."""
        held = (PLACEHOLDER.findall(text) for text in searched if "<" in text)
        self._placeholders = Placeholders(chain.from_iterable(held))
        self._parts = _everywhere(searched, found)
        for text, parts in self._parts.items():
            for part in parts:
                self._placeholders.of(text[part.start : part.end], part.kind)
        self._restore = restore
        self.payload = texts.rewritten(payload, lambda text: texts.redone(text, self._without))

    def restored(self, answer: JsonValue) -> JsonValue:
        if not self._restore:
            return answer
        return texts.rewritten(answer, self._placeholders.restored)

    def rewriter(self) -> EventRewriter | None:
        return EventRestorer(self._placeholders) if self._restore else None

    def _without(self, text: str) -> str:
        pieces: list[str] = []
        end = 0
        for part in self._parts.get(text, ()):
            pieces.append(text[end : part.start])
            pieces.append(self._placeholders.known(text[part.start : part.end]))
            end = part.end
        pieces.append(text[end:])
        return "".join(pieces)


def _everywhere(
    searched: Iterable[str], found: Mapping[str, list[Found]]
) -> dict[str, list[Found]]:
    """What was found, and where else the same values stand: a value's surroundings may hide it, and
    a name may be told in one sentence and not in the next."""
    kinds = {
        text[part.start : part.end]: part.kind for text, parts in found.items() for part in parts
    }
    longer = {value: kind for value, kind in kinds.items() if len(value) >= SHORTEST_ELSEWHERE}
    again = _few(longer) if len(longer) <= MOST_ONE_BY_ONE else _many(longer)
    parts: dict[str, list[Found]] = {}
    for text in searched:
        if both := merged([*found.get(text, ()), *again(text)]):
            parts[text] = both
    return parts


def _few(kinds: Mapping[str, str]) -> Callable[[str], Iterator[Found]]:
    """Where some values stand in a text."""

    def find(text: str) -> Iterator[Found]:
        for value, kind in kinds.items():
            start = text.find(value)
            while start >= 0:
                yield Found(start, start + len(value), kind)
                start = text.find(value, start + len(value))

    return find


def _many(kinds: Mapping[str, str]) -> Callable[[str], Iterator[Found]]:
    """As `_few`, of which time would grow with the values."""
    kinds = {encodable(value): kind for value, kind in kinds.items()}
    longest_first = sorted(kinds, key=len, reverse=True)
    matchers = [
        compiled("|".join(map(re.escape, some)), most_memory=256 * 1024 * 1024)
        for some in batched(longest_first, AT_ONCE, strict=False)
    ]

    def find(text: str) -> Iterator[Found]:
        for matcher in matchers:
            for match in matcher.finditer(encodable(text)):
                start, end = match.span()
                yield Found(start, end, kinds[match[0]])

    return find
