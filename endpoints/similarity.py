"""How alike two answers of a model are, between 0 and 1."""

from __future__ import annotations

from collections import Counter
from math import sqrt
from typing import TypeGuard

from pydantic import JsonValue

MOST_WORDS = 2000
MOST_NUMBERS = 4096


def similarity(one: JsonValue, other: JsonValue) -> float:
    """Texts by the words they share (Dice), embeddings by their cosine, all else by equality."""
    if one == other:
        return 1.0
    texts = _chat_text(one), _chat_text(other)
    if texts[0] is not None and texts[1] is not None:
        return _dice(texts[0], texts[1])
    vectors = _vector(one), _vector(other)
    if vectors[0] is not None and vectors[1] is not None:
        return _cosine(vectors[0], vectors[1])
    return 0.0


def _chat_text(answer: JsonValue) -> str | None:
    """The first choice of an OpenAI chat completion."""
    match answer:
        case {"choices": [{"message": {"content": str(text)}}, *_]}:
            return text
    return None


def _vector(answer: JsonValue) -> list[float] | None:
    """The first embedding of an OpenAI embeddings answer."""
    match answer:
        case {"data": [{"embedding": [*numbers]}, *_]}:
            return [float(n) for n in numbers[:MOST_NUMBERS] if _is_number(n)] or None
    return None


def _is_number(value: JsonValue) -> TypeGuard[float]:
    """JSON has integers that no float can hold."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**53)


def _dice(one: str, other: str) -> float:
    words = Counter(one.lower().split()[:MOST_WORDS]), Counter(other.lower().split()[:MOST_WORDS])
    total = words[0].total() + words[1].total()
    return 2 * (words[0] & words[1]).total() / total if total else 1.0


def _cosine(one: list[float], other: list[float]) -> float:
    if len(one) != len(other):
        return 0.0
    product = sum(a * b for a, b in zip(one, other, strict=True))
    length = sqrt(sum(a * a for a in one)) * sqrt(sum(b * b for b in other))
    return min(1.0, max(0.0, product / length)) if length else 0.0
