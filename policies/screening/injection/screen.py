"""The verdict on one text."""

from __future__ import annotations

from policies.screening.injection.concepts import Concept
from policies.screening.injection.disguises import other_readings
from policies.screening.injection.glance import Glance, glance, may_be_attack
from policies.screening.injection.reading import Mark, marks_of, tokens_of, union, unquoted
from policies.screening.injection.rules import ENOUGH, RULES, Family, Rule

_DISGUISED = 1
"""Who hides what they ask for means it."""


def attack(text: str, folded: str, seen: Glance) -> Family | None:
    """Why the text looks like an attack; None when it does not. Raises nothing.

    `folded` is `fold(text)`, `seen` is `glance(folded)`.
    """
    if (found := _of_folded(folded, seen, 0)) is not None:
        return found
    for other in other_readings(text, folded, seen):
        if (found := _of_folded(other, glance(other), _DISGUISED)) is not None:
            return found
    return None


def _of_folded(folded: str, seen: Glance, already: int) -> Family | None:
    if not may_be_attack(seen, folded, already):
        return None
    tokens = tokens_of(folded)
    marks = marks_of(tokens, folded)
    found = _judge(marks, already)
    if found is None or not union(marks) & Concept.ABOUT:
        return found
    # Somebody speaks about a phrase and does not mean it; unless it is to be obeyed.
    outside = unquoted(tokens, marks)
    there = union(outside)
    if there & Concept.ABOUT and not there & Concept.OBEY:
        return _judge(outside, already)
    return found


def _judge(marks: list[Mark], already: int) -> Family | None:
    there = union(marks)
    strongest: dict[Family, int] = {}
    for rule in RULES:
        for each in rule.all_of:
            if not there & each:
                break
        else:
            if strongest.get(rule.family, 0) < rule.weight and _holds(rule, marks):
                strongest[rule.family] = rule.weight
                if sum(strongest.values()) + already >= ENOUGH:
                    return max(strongest, key=lambda family: strongest[family])
    return None


def _holds(rule: Rule, marks: list[Mark]) -> bool:
    first, rest = rule.all_of[0], rule.all_of[1:]
    for at, mark in enumerate(marks):
        if mark.concepts & first:
            near = _near(marks, at, rule.within)
            if all(near & each for each in rest):
                return True
    return False


def _near(marks: list[Mark], at: int, within: int) -> int:
    """The concepts of the words around one."""
    place, found = marks[at].place, 0
    for step in (-1, 1):
        other = at + step
        while 0 <= other < len(marks) and abs(marks[other].place - place) <= within:
            found |= marks[other].concepts
            other += step
    return found
