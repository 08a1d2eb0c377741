"""A first look at a text, without regard to order: which words occur in it at all.

Most texts cannot fulfil any set of rules with the words they have, and are read no further.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from policies.screening.injection.lexicon import UNSPACED, WORDS
from policies.screening.injection.rules import ENOUGH, RULES, Family

_SPACES = {code: " " for code in range(128) if not chr(code).isalnum()}
_BETWEEN_WORDS = re.compile(r"[\W_]+")
_UNSPACED_SCRIPTS = re.compile(r"[\u0900-\u097f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")


@dataclass(frozen=True, slots=True)
class Glance:
    words: frozenset[str]
    unspaced: bool
    """Whether a script without spaces between words, or as good as that, occurs."""

    @property
    def longest(self) -> int:
        """Characters of the longest word."""
        return len(max(self.words, key=len, default=""))


def glance(folded: str) -> Glance:
    """The words of a folded text."""
    if folded.isascii():
        return Glance(frozenset(folded.translate(_SPACES).split()), unspaced=False)
    words = frozenset(_BETWEEN_WORDS.split(folded))
    return Glance(words, _UNSPACED_SCRIPTS.search(folded) is not None)


def may_be_attack(seen: Glance, folded: str, already: int) -> bool:
    """Whether rules of enough weight could hold, were the words only close together."""
    there = 0
    for word in seen.words & _KEYS:
        for needed, concepts in _BY_WORD[word]:
            if needed <= seen.words:
                there |= concepts
    if seen.unspaced:
        characters = frozenset(folded)
        for word, concepts in UNSPACED.items():
            if characters.issuperset(word) and word in folded:
                there |= concepts
    strongest: dict[Family, int] = {}
    for rule in RULES:
        for each in rule.all_of:
            if not there & each:
                break
        else:
            strongest[rule.family] = max(rule.weight, strongest.get(rule.family, 0))
    return sum(strongest.values()) + already >= ENOUGH


def _by_word() -> dict[str, list[tuple[frozenset[str], int]]]:
    """By one word of each phrase: all its words, and what they stand for."""
    table: dict[str, list[tuple[frozenset[str], int]]] = {}
    for first, known in WORDS.items():
        for rest, concepts in (([], known.concepts), *known.phrases):
            text = " ".join((first, *rest)).translate(_SPACES)
            words = frozenset(_BETWEEN_WORDS.split(text)) - {""}
            if concepts:
                table.setdefault(max(words, key=len), []).append((words, concepts))
    return table


_BY_WORD = _by_word()
_KEYS = frozenset(_BY_WORD)
