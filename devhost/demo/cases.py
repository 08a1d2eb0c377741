"""The jobs of the demo, and what makes each answer right."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, Field, JsonValue

TEXT = """\
The first lighthouse on the Bell Rock was finished in 1810. Robert Stevenson planned it on a reef
that the tide covers twice a day, eighteen kilometres off the coast of Scotland. Men could work
there for only a few hours at a stretch, and only in summer. The tower is built of granite blocks
that are cut to lock into each other, so that no wave can pull one out. It has stood for more than
two hundred years without a repair to its masonry. The light is automatic today, and is watched
from Edinburgh.
"""
MAX_WORDS = 45

DOCUMENTS = [
    "The Amazon is 6,400 kilometres long. It carries more water than any other river.",
    "Mount Kilimanjaro is 5,895 metres high. It is the highest mountain of Africa.",
    "Lake Baikal is 1,642 metres deep. It holds a fifth of the world's fresh water.",
]

SIMILAR = ("A cat sleeps on the sofa.", "A kitten naps on the couch.")
DIFFERENT = "Interest rates rose by a quarter of a point."


class Embedded(BaseModel):
    embeddings: Annotated[list[list[float]], Field(min_length=3, max_length=3)]


class Classified(BaseModel):
    label: str
    scores: dict[str, float]


class Answered(BaseModel):
    answer: str


class Summarized(BaseModel):
    summary: str


@dataclass(frozen=True, slots=True)
class Case:
    """One job: what is asked, and a check that returns the answer in a line.

    The check raises WrongAnswer, or pydantic's ValidationError for an answer of another shape.
    """

    flow: str
    asks: str
    input: dict[str, JsonValue]
    check: Callable[[JsonValue], str]


class WrongAnswer(Exception):
    """The answer is not right; the message says what is wrong with it."""


def cases(*, llm: bool) -> list[Case]:
    """The demo's jobs. A small language model's words are not predictable: only their form is."""
    return [
        Case(
            flow="embed",
            asks="three sentences, two of them alike",
            input={"text": [*SIMILAR, DIFFERENT]},
            check=embedded,
        ),
        Case(
            flow="classify",
            asks="“The striker scored twice in the final.”",
            input={
                "text": "The striker scored twice in the final.",
                "labels": ["sport", "cooking", "politics"],
            },
            check=lambda result: classified(result, "sport"),
        ),
        Case(
            flow="answer",
            asks="“How high is Mount Kilimanjaro?” of three documents",
            input={"question": "How high is Mount Kilimanjaro?", "documents": list(DOCUMENTS)},
            check=said if llm else lambda result: answered(result, "5,895"),
        ),
        Case(
            flow="summarize",
            asks=f"{len(TEXT.split())} words, in at most {MAX_WORDS}",
            input={"text": TEXT, "max_words": MAX_WORDS},
            check=said if llm else lambda result: summarized(result, TEXT, MAX_WORDS),
        ),
    ]


def embedded(result: JsonValue) -> str:
    """Three vectors of 384 numbers, and the two alike nearer to each other than to the third."""
    first, second, third = Embedded.model_validate(result).embeddings
    if {len(first), len(second), len(third)} != {384}:
        raise WrongAnswer("expected vectors of 384 numbers")
    near, far = cosine(first, second), cosine(first, third)
    if near <= far:
        raise WrongAnswer(
            f"the sentences alike are no nearer ({near:.2f}) than the other ({far:.2f})"
        )
    return f"384 numbers each; alike {near:.2f}, different {far:.2f}"


def classified(result: JsonValue, expected: str) -> str:
    answer = Classified.model_validate(result)
    if answer.label != expected:
        raise WrongAnswer(f"expected {expected}, got {answer.label}")
    return f"{answer.label} ({answer.scores[answer.label]:.0%})"


def answered(result: JsonValue, fact: str) -> str:
    answer = Answered.model_validate(result).answer
    if fact not in answer:
        raise WrongAnswer(f"expected {fact} in: {answer}")
    return answer


def summarized(result: JsonValue, text: str, max_words: int) -> str:
    """The summary consists of sentences of the text, and is short enough."""
    summary = Summarized.model_validate(result).summary
    source = " ".join(text.split())
    foreign = [part for part in summary.split(". ") if part.rstrip(".") not in source]
    if not summary or foreign:
        raise WrongAnswer(f"not in the text: {foreign or 'nothing was said'}")
    if len(summary.split()) > max_words:
        raise WrongAnswer(f"{len(summary.split())} words, expected at most {max_words}")
    return summary


def said(result: JsonValue) -> str:
    """Any words at all."""
    fields = result if isinstance(result, dict) else {}
    words = fields.get("answer") or fields.get("summary")
    if not isinstance(words, str) or not words.strip():
        raise WrongAnswer("expected words")
    return " ".join(words.split())


def cosine(one: list[float], other: list[float]) -> float:
    return math.sumprod(one, other) / math.hypot(*one) / math.hypot(*other)
