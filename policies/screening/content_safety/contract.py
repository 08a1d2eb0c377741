"""What is asked of Azure AI Content Safety, and what its answers mean.

API version 2024-09-01: `text:analyze` finds harmful content and terms of blocklists,
`text:shieldPrompt` (Prompt Shields) attacks in a user's prompt or in documents. Each takes texts of
at most 10,000 characters, counted as code points; the categories' severities are 0, 2, 4 and 6.
https://learn.microsoft.com/rest/api/contentsafety/text-operations
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import JsonValue

from policies.screening.material import Said
from policies.screening.settings import ContentSafetySettings, Severities

API_VERSION = "2024-09-01"
MOST_CHARACTERS = 10_000
OVERLAP = 200
"""Characters that two pieces of a long text have in common."""

_CATEGORIES = {"Hate": "hate", "SelfHarm": "self_harm", "Sexual": "sexual", "Violence": "violence"}


class Operation(StrEnum):
    ANALYZE = "text:analyze"
    SHIELD = "text:shieldPrompt"


class Ask(NamedTuple):
    """One request."""

    operation: Operation
    body: dict[str, JsonValue]


def asks(said: list[Said], settings: ContentSafetySettings) -> Iterator[Ask]:
    """All that is to be asked about some texts."""
    wanted = [name for name, ours in _CATEGORIES.items() if _least(settings.severities, ours)]
    for each in said:
        for piece in _pieces(each.text):
            if wanted or settings.blocklists:
                yield _analyze(piece, wanted, settings)
            # What the application says is no attack on itself.
            if settings.prompt_shields and not each.by_owner:
                yield _shield(piece, is_document=each.is_document)


def reason(ask: Ask, answer: Any, severities: Severities) -> str | None:
    """What was found, if anything, as a code. Raises ValueError for an answer of another shape."""
    try:
        if ask.operation is Operation.SHIELD:
            return _of_shield(answer)
        return _of_analysis(answer, severities)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError("its answer is not as its contract says") from error


def _analyze(piece: str, categories: list[str], settings: ContentSafetySettings) -> Ask:
    return Ask(
        Operation.ANALYZE,
        {
            "text": piece,
            "categories": [*categories],
            "blocklistNames": [*settings.blocklists],
            "haltOnBlocklistHit": True,
            "outputType": "FourSeverityLevels",
        },
    )


def _shield(piece: str, *, is_document: bool) -> Ask:
    prompt, documents = ("", [piece]) if is_document else (piece, [])
    return Ask(Operation.SHIELD, {"userPrompt": prompt, "documents": [*documents]})


def _of_shield(answer: Any) -> str | None:
    if answer["userPromptAnalysis"]["attackDetected"]:
        return "prompt_attack"
    documents = answer.get("documentsAnalysis") or []
    return "document_attack" if any(each["attackDetected"] for each in documents) else None


def _of_analysis(answer: Any, severities: Severities) -> str | None:
    if answer.get("blocklistsMatch"):
        return "blocklist"
    for each in answer["categoriesAnalysis"]:
        category = _CATEGORIES.get(each["category"])
        least = None if category is None else _least(severities, category)
        if least is not None and (each.get("severity") or 0) >= least:
            return category
    return None


def _least(severities: Severities, category: str) -> int | None:
    least: int | None = getattr(severities, category)
    return least


def _pieces(text: str) -> Iterator[str]:
    step = MOST_CHARACTERS - OVERLAP
    for start in range(0, max(len(text) - OVERLAP, 1), step):
        yield text[start : start + MOST_CHARACTERS]
