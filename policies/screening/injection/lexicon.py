"""The words of all languages in one table, by the word that each phrase begins with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from policies.screening.injection import english, languages
from policies.screening.injection.concepts import Concept
from policies.screening.injection.folding import fold


@dataclass(slots=True)
class Known:
    """What a word stands for, alone and as the first of several."""

    concepts: int = 0
    phrases: tuple[tuple[list[str], int], ...] = ()
    """Each the words that follow it, and what all together stand for."""


ASKED = int(Concept.DROP | Concept.SHOW | Concept.SEND)
"""What an English verb stands for only where somebody is asked to do it: not in `users who ignore
the rules`."""


def _spelt(text: str) -> Iterator[str]:
    """See `english`."""
    for each in text.split():
        stem, *endings = each.split("+") if "_+_" not in each else [each]
        yield from (stem + ending for ending in endings) if endings else (stem,)


def _misspelt(word: str) -> Iterator[str]:
    """With a letter left out, or with two the wrong way round."""
    for at in range(1, len(word)):
        yield word[:at] + word[at + 1 :]
        yield word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]


def _phrases() -> dict[tuple[str, ...], int]:
    found: dict[tuple[str, ...], int] = {}
    for concept, text in english.WORDS.items():
        for phrase in _spelt(text):
            words = tuple(phrase.split("_"))
            found[words] = found.get(words, 0) | int(concept)
    for word in english.OFTEN_MISSPELT:
        for wrong in _misspelt(word):
            found.setdefault((wrong,), found[word,])
    in_english = set(found)
    for concept, text in languages.WORDS.items():
        for phrase in _spelt(text):
            words = tuple(fold(phrase).split("_"))
            # A verb that English has too is asked for as in English.
            if words not in in_english or not int(concept) & ASKED:
                found[words] = found.get(words, 0) | int(concept)
    return found


def _table() -> dict[str, Known]:
    table: dict[str, Known] = {}
    for words, concepts in _phrases().items():
        known = table.setdefault(words[0], Known())
        if len(words) == 1:
            known.concepts |= concepts
        else:
            known.phrases = (*known.phrases, (list(words[1:]), concepts))
    return table


WORDS = _table()

ENGLISH_VERBS = frozenset(
    words[0]
    for concept, text in english.WORDS.items()
    if int(concept) & ASKED
    for words in (phrase.split("_") for phrase in _spelt(text))
)


def _unspaced() -> dict[str, int]:
    found: dict[str, int] = {}
    for concept, text in languages.UNSPACED.items():
        for phrase in text.split():
            words = fold(phrase.replace("_", " "))
            found[words] = found.get(words, 0) | int(concept)
    return found


UNSPACED = _unspaced()
FIND_UNSPACED = re.compile("|".join(sorted(map(re.escape, UNSPACED), key=len, reverse=True)))
