"""Where the texts of a streamed answer stand in its events.

OpenAI's chat completions, completions and responses:
https://platform.openai.com/docs/api-reference/chat-streaming and .../responses-streaming.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

type Key = tuple[JsonValue, ...]
"""Which text of an answer a piece goes on with."""


@dataclass(slots=True)
class Piece:
    """A piece of one of the answer's texts, where it stands in its event."""

    key: Key
    part: dict[str, Any]
    field: str
    in_json: bool = False


def pieces(data: dict[str, Any]) -> Iterator[Piece]:
    kind = data.get("type")
    if isinstance(kind, str) and kind.endswith(".delta") and isinstance(data.get("delta"), str):
        where = (data.get("item_id"), data.get("output_index"), data.get("content_index"))
        summary = data.get("summary_index")
        yield Piece(("responses", kind, *where, summary), data, "delta", "arguments" in kind)
    for choice in _dicts(data.get("choices")):
        yield from _chat_pieces(choice)


def _chat_pieces(choice: dict[str, Any]) -> Iterator[Piece]:
    key = ("chat", choice.get("index"))
    if isinstance(choice.get("text"), str):
        yield Piece((*key, "text"), choice, "text")
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return
    for field, value in delta.items():
        if isinstance(value, str) and field != "role":
            yield Piece((*key, "delta", field), delta, field)
    for call in _dicts(delta.get("tool_calls")):
        function = call.get("function")
        if isinstance(function, dict) and isinstance(function.get("arguments"), str):
            where = (*key, "tool", call.get("index"))
            yield Piece(where, function, "arguments", in_json=True)


def finished(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for choice in _dicts(data.get("choices")):
        if choice.get("finish_reason") is not None:
            yield choice


def add(choice: dict[str, Any], key: Key, held: str) -> None:
    """Put text into a choice, at the end of what it has of the kind."""
    if key[2] == "text":
        choice.pop("delta", None)
        choice["text"] = choice.get("text", "") + held
        return
    delta = choice.setdefault("delta", {})
    if key[2] == "delta":
        field = str(key[3])
        delta[field] = (delta.get(field) or "") + held
        return
    calls = delta.setdefault("tool_calls", [])
    for call in _dicts(calls):
        function = call.get("function")
        if call.get("index") == key[3] and isinstance(function, dict):
            function["arguments"] = (function.get("arguments") or "") + held
            return
    calls.append({"index": key[3], "function": {"arguments": held}})


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, dict))
