"""Why a model stopped, as far as an answer of the OpenAI API tells."""

from __future__ import annotations

from pydantic import JsonValue

LONGEST = 32
"""Characters of a reason: it goes into metrics and traces, where a model's own text must not."""


def finish_reasons(body: JsonValue) -> tuple[str, ...]:
    """Of each choice of a chat completion; none of any other body."""
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list):
        return ()
    told = [choice.get("finish_reason") for choice in choices if isinstance(choice, dict)]
    return tuple(reason for reason in told if isinstance(reason, str) and len(reason) <= LONGEST)
