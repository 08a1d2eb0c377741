"""The injection screen on a labelled set: precision and recall of both halves.

Which half an example is in follows from its text alone. The rules were written with the development
half in sight; the held-out half says how they do on what they were not made for. Its examples are
the same author's, so strangers' attacks are found less often than its numbers say.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from policies.screening.injection.screen import attack
from policies.screening.material import Said

DATA = Path(__file__).parents[1] / "data/screening"
HALVES = ("development", "held_out")


@dataclass(frozen=True)
class Score:
    """Of one half."""

    found: int
    missed: int
    false: int
    quiet: int

    @property
    def precision(self) -> float:
        return self.found / (self.found + self.false)

    @property
    def recall(self) -> float:
        return self.found / (self.found + self.missed)


def examples(half: str) -> list[dict[str, object]]:
    lines = (DATA / f"{half}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def half_of(text: str) -> str:
    return HALVES[hashlib.sha256(text.encode()).digest()[0] % 2]


def looks_like_attack(text: str) -> bool:
    said = Said(text)
    return attack(said.text, said.folded, said.seen) is not None


def score(half: str) -> Score:
    told = [(bool(each["attack"]), looks_like_attack(str(each["text"]))) for each in examples(half)]
    return Score(
        found=told.count((True, True)),
        missed=told.count((True, False)),
        false=told.count((False, True)),
        quiet=told.count((False, False)),
    )


def test_the_set_is_large_enough_and_split_by_the_rule():
    everything = [(half, each) for half in HALVES for each in examples(half)]
    assert len(everything) >= 400
    assert len({each["text"] for _, each in everything}) == len(everything)
    for half, each in everything:
        assert half_of(str(each["text"])) == half
    for half in HALVES:
        share = sum(bool(each["attack"]) for each in examples(half)) / len(examples(half))
        assert 0.4 < share < 0.6
    assert len({each["language"] for _, each in everything}) >= 15


@pytest.mark.parametrize(
    ("half", "least_precision", "least_recall"),
    [("development", 0.97, 0.95), ("held_out", 0.93, 0.8)],
)
def test_precision_and_recall(half, least_precision, least_recall, capsys):
    found = score(half)
    with capsys.disabled():
        print(
            f"\nscreening, {half}: precision {found.precision:.3f}, recall {found.recall:.3f}"
            f" ({found})"
        )
    assert found.precision >= least_precision
    assert found.recall >= least_recall
