"""A text as the concepts in it: which words stand for something, and where."""

from __future__ import annotations

import re
from typing import NamedTuple

from policies.screening.injection.concepts import Concept
from policies.screening.injection.english import LEADS, SUBJECTS
from policies.screening.injection.lexicon import (
    ASKED,
    ENGLISH_VERBS,
    FIND_UNSPACED,
    UNSPACED,
    WORDS,
    Known,
)

_TOKEN = re.compile(r"[^\W_]+(?:['-][^\W\d_]+)*|[^\w\s]|\n")
_UNSPACED_SCRIPTS = re.compile(r"[\u0900-\u097f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")
_LETTERS_A_WORD = 2
"""Of those scripts."""
_SHORT_QUOTE = 60
"""Tokens; what is quoted at greater length is a document, and may well be meant."""

_QUOTES = frozenset("\"'`")
_STOPS = frozenset(".!?:;,\n\"'`()[]{}<>|#-*")
_NOBODY_ASKED = frozenset(("can", "could", "should", "will", "would", "do"))
"""At the very beginning: `can users ignore …`."""
_ASKED_TO = frozenset(("you", "permitted", "allowed"))


class Mark(NamedTuple):
    """A word that stands for concepts."""

    place: int
    """Tokens before it."""
    concepts: int


def tokens_of(folded: str) -> list[str]:
    """The words and marks of punctuation of a folded text."""
    return _TOKEN.findall(folded)


def marks_of(tokens: list[str], folded: str) -> list[Mark]:
    """The words that stand for something, in order."""
    known_of = WORDS.get
    marks = [
        Mark(place, concepts)
        for place, token in enumerate(tokens)
        if (known := known_of(token)) is not None and (concepts := _concepts(known, tokens, place))
    ]
    if not folded.isascii() and _UNSPACED_SCRIPTS.search(folded):
        marks = sorted([*marks, *_unspaced(folded)])
    return marks


def unquoted(tokens: list[str], marks: list[Mark]) -> list[Mark]:
    """The marks that do not stand in short quotes."""
    opened: dict[str, int] = {}
    spans: list[tuple[int, int]] = []
    for place, token in enumerate(tokens):
        if token not in _QUOTES:
            continue
        begun = opened.pop(token, None)
        if begun is not None and place - begun <= _SHORT_QUOTE:
            spans.append((begun, place))
        else:
            opened[token] = place
    spans.sort()
    outside: list[Mark] = []
    at = 0
    for mark in marks:
        while at < len(spans) and spans[at][1] < mark.place:
            at += 1
        if at == len(spans) or mark.place < spans[at][0]:
            outside.append(mark)
    return outside


def union(marks: list[Mark]) -> int:
    found = 0
    for mark in marks:
        found |= mark.concepts
    return found


def _concepts(known: Known, tokens: list[str], place: int) -> int:
    found = known.concepts
    for rest, concepts in known.phrases:
        if tokens[place + 1 : place + 1 + len(rest)] == rest:
            found |= concepts
    if found & ASKED and tokens[place] in ENGLISH_VERBS and not _is_asked(tokens, place):
        found &= ~ASKED
        if place > 0 and tokens[place - 1] in SUBJECTS:
            found &= ~_IGNORE
    return found


_IGNORE = int(Concept.IGNORE)


def _is_asked(tokens: list[str], place: int) -> bool:
    """Whether the verb asks the reader for it, or tells of somebody who does it."""
    if place == 0:
        return True
    before = tokens[place - 1]
    if before in _STOPS:
        return True
    if before in LEADS:
        return place > 1 or before not in _NOBODY_ASKED
    return before == "to" and place > 1 and tokens[place - 2] in _ASKED_TO


def _unspaced(folded: str) -> list[Mark]:
    return [
        Mark(match.start() // _LETTERS_A_WORD, UNSPACED[match[0]])
        for match in FIND_UNSPACED.finditer(folded)
    ]
