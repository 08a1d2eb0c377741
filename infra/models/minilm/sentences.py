"""Text taken apart into sentences, and a chat prompt into its question and its sentences."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|Dr|Mr|Mrs|Ms|Mt|Prof|St|No|Fig)|\b[A-Z])\.$"
)
_END = re.compile(r"(?<=[.!?])[\"')\]\u201d\u2019]*\s+(?=[\"'(\[\u201c\u2018]*[A-Z0-9])")
_MARKER = re.compile(r"^\s*(?:\[[^\]\n]{1,40}\]|[-*•]|\d{1,3}[.)])\s+")
_QUESTION = re.compile(r"^\s*question:[ \t]*(.+)$", re.IGNORECASE | re.MULTILINE)
_HEADING = re.compile(r"^[^.!?\n]{1,60}:$")
_WORD_LIMIT = re.compile(
    r"\b(?:at most|no more than|not more than|up to|within|fewer than|under|maximum of)"
    r"\s+(\d{1,5})\s+words\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A chat prompt as an extractive model reads it."""

    question: str | None
    """What follows `Question:`; None when the prompt asks for a summary."""
    sentences: list[str]
    """What may be quoted, in the prompt's order."""
    word_limit: int | None
    """From an instruction such as "at most 60 words"."""


def read_prompt(instructions: str, content: str) -> Prompt:
    """Read system messages (`instructions`) and the last user message (`content`)."""
    asked = _QUESTION.search(content)
    limit = _WORD_LIMIT.search(instructions) or _WORD_LIMIT.search(content)
    return Prompt(
        question=asked.group(1).strip() if asked else None,
        sentences=split(_QUESTION.sub("", content)),
        word_limit=int(limit.group(1)) if limit else None,
    )


def split(content: str) -> list[str]:
    """The sentences of a text; headings (`Documents:`) and list markers are left out.

    A line break inside a paragraph is a space; a blank line or a list marker ends a sentence.
    """
    sentences: list[str] = []
    for paragraph in _paragraphs(content):
        begin = 0
        for end in _END.finditer(paragraph):
            if not _ABBREVIATION.search(paragraph[begin : end.start()]):
                sentences.append(paragraph[begin : end.end()].strip())
                begin = end.end()
        sentences.append(paragraph[begin:].strip())
    return [sentence for sentence in sentences if re.search(r"\w", sentence)]


def _paragraphs(content: str) -> list[str]:
    paragraphs: list[list[str]] = [[]]
    for line in content.splitlines():
        bare = _MARKER.sub("", line, count=1).strip()
        if bare != line.strip() or not bare or _HEADING.match(bare):
            paragraphs.append([])
        if bare and not _HEADING.match(bare):
            paragraphs[-1].append(bare)
    return [" ".join(lines) for lines in paragraphs if lines]
