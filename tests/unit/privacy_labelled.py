"""The labelled texts of privacy_texts, and how well detectors do on them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from policies.privacy.finding import Finder, Found

FOLDER = Path(__file__).parent / "privacy_texts"
_LABEL = re.compile(r"\[\[(\w+):(.*?)\]\](?!\])")


@dataclass(frozen=True)
class Labelled:
    text: str
    found: frozenset[Found]


@dataclass
class Score:
    right: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    @property
    def precision(self) -> float:
        right = self.right.total()
        return right / (right + len(self.wrong))

    @property
    def recall(self) -> float:
        right = self.right.total()
        return right / (right + len(self.missed))


def labelled(name: str = "labelled") -> list[Labelled]:
    """`labelled`, or `held_out`: for which nothing was tuned."""
    lines = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [_labelled(line) for line in lines if line and not line.startswith("#")]


def score(finder: Finder, texts: list[Labelled]) -> Score:
    """What was found, where and of which kind, held against the labels: each to the character."""
    result = Score()
    for each in texts:
        found = set(finder.find(each.text))
        result.right.update(one.kind for one in found & each.found)
        result.wrong += [f"{one.kind} in: {each.text}" for one in found - each.found]
        result.missed += [f"{one.kind} in: {each.text}" for one in each.found - found]
    return result


def _labelled(line: str) -> Labelled:
    pieces: list[str] = []
    found: set[Found] = set()
    end = size = 0

    def add(piece: str) -> None:
        nonlocal size
        pieces.append(re.sub(r"(?<!\\)\\n", "\n", piece).replace("\\\\", "\\"))
        size += len(pieces[-1])

    for label in _LABEL.finditer(line):
        add(line[end : label.start()])
        start = size
        add(label[2])
        found.add(Found(start, size, label[1]))
        end = label.end()
    add(line[end:])
    return Labelled("".join(pieces), frozenset(found))
