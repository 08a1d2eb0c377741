"""What stands in the place of a value, and the way back.

`<EMAIL_1>`: the kind, and a number that is the same for the same value. None is used that the
call's own texts hold.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

from policies.privacy.texts import looks_like_json

PLACEHOLDER = re.compile(r"<[A-Z][A-Z0-9_]{0,40}_[0-9]{1,9}>", re.ASCII)


class Placeholders:
    """Of one call. Knows what was found: never to be stored."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = frozenset(taken)
        self._of: dict[str, str] = {}
        self._values: dict[str, str] = {}
        self._numbers: Counter[str] = Counter()
        self._ordered: list[str] = []

    def of(self, value: str, kind: str) -> str:
        """The value's; made when it has none. The kind in which it is found first counts."""
        placeholder = self._of.get(value)
        if placeholder is None:
            placeholder = self._of[value] = self._next(kind.upper())
            self._values[placeholder] = value
        return placeholder

    def known(self, value: str) -> str:
        """Of a value that has one."""
        return self._of[value]

    def _next(self, label: str) -> str:
        while True:
            self._numbers[label] += 1
            placeholder = f"<{label}_{self._numbers[label]}>"
            if placeholder not in self._taken:
                return placeholder

    # The way back.

    def restored(self, text: str, *, in_json: bool | None = None) -> str:
        """The text with its values. Inside a JSON text they are escaped as its strings are; by
        default it is one when it begins like one."""
        if "<" not in text:
            return text
        if in_json is None:
            in_json = looks_like_json(text)

        def value(found: re.Match[str]) -> str:
            original = self._values.get(found[0])
            if original is None:
                return found[0]
            return json.dumps(original, ensure_ascii=False)[1:-1] if in_json else original

        return PLACEHOLDER.sub(value, text)

    def unfinished(self, text: str) -> int:
        """Where in the text a placeholder begins whose end may still come; its length if none."""
        at = text.rfind("<")
        if at < 0 or ">" in text[at:]:
            return len(text)
        if not self._ordered:
            self._ordered = sorted(self._values)
        begun = text[at:]
        place = bisect_left(self._ordered, begun)
        goes_on = place < len(self._ordered) and self._ordered[place].startswith(begun)
        return at if goes_on else len(text)
