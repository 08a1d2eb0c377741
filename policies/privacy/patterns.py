"""The tenant's own patterns, in time that grows with the text alone: RE2 knows no backtracking.

RE2 is imported where there is such a pattern. https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policies.privacy.finding import Found

_HALVES = re.compile("[\ud800-\udfff]")
MOST_MEMORY = 8 * 1024 * 1024
"""Bytes of one compiled pattern."""


def compiled(pattern: str, most_memory: int = MOST_MEMORY) -> Any:
    """Raises ValueError; its text may hold the pattern."""
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = most_memory
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError(str(error)) from None


def wrong(pattern: str) -> str | None:
    """What was expected of a pattern that cannot be used; None when it can be."""
    try:
        usable = compiled(pattern)
    except ValueError:
        return "a regular expression of RE2, which has no look-around and no back-references"
    except ImportError:
        return "no pattern, since google-re2 is not installed"
    if usable.match("") is not None:
        return "a regular expression that does not match the empty text"
    return None


def encodable(text: str) -> str:
    """The text with half surrogate pairs, which JSON may carry and UTF-8 may not, replaced one by
    one: what is found in it is where it is in the text."""
    if text.isascii():
        return text
    return _HALVES.sub("\ufffd", text)


@dataclass(frozen=True, slots=True)
class TenantPatterns:
    """The tenant's patterns as one finder; the kinds are their names."""

    compiled: Mapping[str, Any]

    @classmethod
    def of(cls, patterns: Mapping[str, str]) -> TenantPatterns:
        return cls({name: compiled(pattern) for name, pattern in patterns.items()})

    def find(self, text: str) -> Iterator[Found]:
        text = encodable(text)
        for name, pattern in self.compiled.items():
            for match in pattern.finditer(text):
                start, end = match.span()
                if start < end:
                    yield Found(start, end, name)
