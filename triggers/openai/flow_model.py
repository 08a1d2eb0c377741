"""A flow in a model's place: its input from a chat's messages, its result as the chat's answer."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from contracts.calls import Attempt, JsonObject, Usage
from contracts.errors import InvalidRequest
from contracts.flows import FlowInfo
from contracts.problems import FieldProblem

_DONE = b"data: [DONE]\n\n"


def flow_input(info: FlowInfo, messages: list[JsonObject]) -> JsonObject:
    """What the last message of the user says to the flow.

    It may be the input itself: a JSON object that has the fields which the flow requires. For a
    flow that requires nothing but a text, any other message is that text. Raises InvalidRequest.
    """
    said = _last_of_user(messages)
    given, field = _json_of(said), _only_text_field(info.input_schema)
    if isinstance(given, dict) and (field is None or field in given):
        return given
    if field is None:
        required = ", ".join(_required(info.input_schema)) or "no field of it is required"
        raise _wrong(f"a last user message that is the flow's input as a JSON object: {required}")
    return {field: said}


@dataclass(frozen=True, slots=True)
class Completion:
    """The chat completion whose content is a flow's result."""

    flow: str
    content: str
    usage: Usage
    """Of all model calls of the flow."""
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self) -> bytes:
        """As one JSON text."""
        choice = {"index": 0, "message": self._message(), "logprobs": None, "finish_reason": "stop"}
        told = {**self._shared(""), "choices": [choice], "usage": self._usage()}
        return to_json(told)

    def events(self, *, with_usage: bool) -> bytes:
        """As the events of a stream: all of it in one chunk."""
        choice = {"index": 0, "delta": self._message(), "logprobs": None, "finish_reason": "stop"}
        chunks: list[dict[str, object]] = [{**self._shared(".chunk"), "choices": [choice]}]
        if with_usage:
            chunks[0]["usage"] = None
            chunks.append({**self._shared(".chunk"), "choices": [], "usage": self._usage()})
        return b"".join(b"data: " + to_json(chunk) + b"\n\n" for chunk in chunks) + _DONE

    def _shared(self, suffix: str) -> dict[str, object]:
        return {
            "id": self.id,
            "object": f"chat.completion{suffix}",
            "created": self.created,
            "model": self.flow,
        }

    def _message(self) -> dict[str, object]:
        return {"role": "assistant", "content": self.content, "refusal": None}

    def _usage(self) -> dict[str, object]:
        used = self.usage
        return {
            "prompt_tokens": used.input_tokens,
            "completion_tokens": used.output_tokens,
            "total_tokens": used.input_tokens + used.output_tokens,
        }


def completion(flow: str, result: JsonValue, attempts: Iterable[Attempt]) -> Completion:
    """A text, or an object of a single text, is the content itself; anything else as JSON."""
    usage = sum((attempt.usage for attempt in attempts), Usage())
    return Completion(flow, _content(result), usage)


def _last_of_user(messages: list[JsonObject]) -> str:
    for message in reversed(messages):
        if message.get("role") == "user":
            return _text(message.get("content"))
    raise _wrong("a message with the role `user`")


def _text(content: JsonValue) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [None]
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise _wrong("a last user message of text alone, as flows take no other")
    return "".join(map(str, texts))


def _json_of(text: str) -> JsonValue:
    try:
        value: JsonValue = from_json(text)
    except ValueError:
        return None
    return value


def _only_text_field(schema: JsonObject) -> str | None:
    properties, required = schema.get("properties"), _required(schema)
    if len(required) != 1 or not isinstance(properties, dict):
        return None
    return required[0] if _takes_text(properties.get(required[0])) else None


def _required(schema: JsonObject) -> list[str]:
    required = schema.get("required")
    return [str(name) for name in required] if isinstance(required, list) else []


def _takes_text(schema: JsonValue) -> bool:
    if not isinstance(schema, dict):
        return False
    options = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(options, list):
        return any(map(_takes_text, options))
    kind = schema.get("type")
    return "string" in kind if isinstance(kind, list) else kind == "string"


def _content(result: JsonValue) -> str:
    if isinstance(result, dict) and len(result) == 1:
        [only] = result.values()
        if isinstance(only, str):
            return only
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)


def _wrong(expected: str) -> InvalidRequest:
    return InvalidRequest(
        f"`messages` is not as expected: {expected}.",
        [FieldProblem(field="messages", expected=expected)],
    )
