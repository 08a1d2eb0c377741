"""What a line came to, as a line of the output or the error file."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from http import HTTPStatus
from typing import Any, Literal

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from contracts.batches import LineError, LineResponse, OutputLine, TokenCounts
from contracts.calls import CallHandle
from contracts.errors import PayloadTooLarge, SluiceError
from contracts.openai import error_body

MOST_RESULT_BYTES = 96 * 1024 * 1024
"""Storage takes a line as one block, of 100 MiB at most."""


@dataclass(slots=True)
class Kept:
    """What is kept of a line, ready to be appended."""

    custom_id: str
    kind: Literal["out", "err", "left"]
    """It was answered; it failed; it is to be run again."""
    text: bytes
    """With its line break."""
    tokens: TokenCounts = field(default_factory=TokenCounts)


@dataclass
class Left:
    """How far a line has come that has not ended."""

    tries: int = 0
    """Such as failed."""
    handles: dict[str, CallHandle] = field(default_factory=dict)
    """What models work on for it."""


def answered(
    batch_id: str,
    custom_id: str,
    request_id: str,
    body: JsonValue,
    flow_usage: TokenCounts | None = None,
) -> Kept:
    """`flow_usage`: of the calls of a flow, whose result does not tell it."""
    response = LineResponse(
        status_code=HTTPStatus.OK, request_id=request_id, body=body, usage=flow_usage
    )
    line = OutputLine(id=_id(batch_id, custom_id), custom_id=custom_id, response=response)
    text = _text(line)
    if len(text) > MOST_RESULT_BYTES:
        why = f"The answer is too long for a line of a file: {MOST_RESULT_BYTES:,} bytes at most."
        return refused(batch_id, custom_id, PayloadTooLarge(why))
    return Kept(custom_id, "out", text, flow_usage or usage_of(body))


def refused(batch_id: str, custom_id: str, error: SluiceError) -> Kept:
    """A line that failed for good: with the response that the same request would have had."""
    line = OutputLine(id=_id(batch_id, custom_id), custom_id=custom_id)
    line.response = LineResponse(
        status_code=int(error.status),
        request_id=line.id,
        body=error_body(error).model_dump(mode="json"),
    )
    return Kept(custom_id, "err", _text(line))


def not_run(batch_id: str, custom_id: str, code: str, message: str) -> Kept:
    """A line of a batch that expired or was cancelled before its turn."""
    error = LineError(code=code, message=message)
    text = _text(OutputLine(id=_id(batch_id, custom_id), custom_id=custom_id, error=error))
    return Kept(custom_id, "err", text)


def left(custom_id: str, so_far: Left) -> Kept:
    return Kept(custom_id, "left", to_json({"custom_id": custom_id, **vars(so_far)}) + b"\n")


# Read again.


def read_ended(text: bytes) -> tuple[str, TokenCounts]:
    """Whose line it is, and what it used."""
    line: dict[str, Any] = from_json(text)
    response = line["response"]
    if response is None:
        return line["custom_id"], TokenCounts()
    if (usage := response.get("usage")) is not None:
        return line["custom_id"], TokenCounts.model_validate(usage)
    return line["custom_id"], usage_of(response["body"])


def read_left(text: bytes) -> tuple[str, Left]:
    """Whose line it is, and how far it has come."""
    line: dict[str, Any] = from_json(text)
    handles = {key: CallHandle.model_validate(each) for key, each in line["handles"].items()}
    return line["custom_id"], Left(line["tries"], handles)


# Usage.


def usage_of(body: JsonValue) -> TokenCounts:
    """What an answer says that it used, in the words of chat completions or of responses."""
    usage = _object(body, "usage")
    counts = TokenCounts()
    counts.input_tokens = _number(usage, "prompt_tokens", "input_tokens")
    counts.output_tokens = _number(usage, "completion_tokens", "output_tokens")
    counts.input_tokens_details.cached_tokens = _number(
        _object(usage, "prompt_tokens_details", "input_tokens_details"), "cached_tokens"
    )
    counts.output_tokens_details.reasoning_tokens = _number(
        _object(usage, "completion_tokens_details", "output_tokens_details"), "reasoning_tokens"
    )
    counts.total_tokens = counts.input_tokens + counts.output_tokens
    return counts


def _object(value: JsonValue, *names: str) -> dict[str, JsonValue]:
    if isinstance(value, dict):
        for name in names:
            if isinstance(found := value.get(name), dict):
                return found
    return {}


def _number(value: dict[str, JsonValue], *names: str) -> int:
    for name in names:
        if type(found := value.get(name)) is int and found > 0:
            return found
    return 0


def _id(batch_id: str, custom_id: str) -> str:
    """The same however often a line is run."""
    digest = blake2b(f"{batch_id}\0{custom_id}".encode(), digest_size=16).hexdigest()
    return f"batch_req_{digest}"


def _text(line: OutputLine) -> bytes:
    return line.model_dump_json().encode() + b"\n"
