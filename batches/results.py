"""What a line came to, as a line of the output or the error file.

    {"id", "custom_id", "response": {"status_code", "request_id", "body"}, "error": null}
    {"id", "custom_id", "response": null, "error": {"code", "message"}}

The second is of a line that was not run. A flow's response also has `usage`. The lines are built
without a model for each part: that would take five times as long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from http import HTTPStatus
from typing import Any, Literal

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from contracts.batches import Tokens
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
    tokens: Tokens = field(default_factory=Tokens)


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
    flow_tokens: Tokens | None = None,
) -> Kept:
    """`flow_tokens`: of the calls of a flow, whose result does not tell them."""
    response = _response(HTTPStatus.OK, request_id, body)
    if flow_tokens is not None:
        response["usage"] = flow_tokens.counts()
    text = _line(_id(batch_id, custom_id), custom_id, response=response)
    if len(text) > MOST_RESULT_BYTES:
        why = f"The answer is too long for a line of a file: {MOST_RESULT_BYTES:,} bytes at most."
        return refused(batch_id, custom_id, PayloadTooLarge(why))
    return Kept(custom_id, "out", text, flow_tokens or tokens_of(body))


def refused(batch_id: str, custom_id: str, error: SluiceError) -> Kept:
    """A line that failed for good: with the response that the same request would have had."""
    name = _id(batch_id, custom_id)
    response = _response(error.status, name, error_body(error))
    return Kept(custom_id, "err", _line(name, custom_id, response=response))


def not_run(batch_id: str, custom_id: str, code: str, message: str) -> Kept:
    """A line of a batch that expired or was cancelled before its turn."""
    error = {"code": code, "message": message}
    return Kept(custom_id, "err", _line(_id(batch_id, custom_id), custom_id, error=error))


def left(custom_id: str, so_far: Left) -> Kept:
    return Kept(custom_id, "left", to_json({"custom_id": custom_id, **vars(so_far)}) + b"\n")


# Read again.


def read_ended(text: bytes) -> tuple[str, Tokens]:
    """Whose line it is, and what it used."""
    line: dict[str, Any] = from_json(text)
    response = line["response"]
    if response is None:
        return line["custom_id"], Tokens()
    return line["custom_id"], tokens_of(response if "usage" in response else response["body"])


def read_left(text: bytes) -> tuple[str, Left]:
    """Whose line it is, and how far it has come."""
    line: dict[str, Any] = from_json(text)
    handles = {key: CallHandle.model_validate(each) for key, each in line["handles"].items()}
    return line["custom_id"], Left(line["tries"], handles)


# Usage.


def tokens_of(body: JsonValue) -> Tokens:
    """What an answer says that it used, in the words of chat completions or of responses."""
    usage = _object(body, "usage")
    return Tokens(
        input=_number(usage, "prompt_tokens", "input_tokens"),
        cached=_number(
            _object(usage, "prompt_tokens_details", "input_tokens_details"), "cached_tokens"
        ),
        output=_number(usage, "completion_tokens", "output_tokens"),
        reasoning=_number(
            _object(usage, "completion_tokens_details", "output_tokens_details"),
            "reasoning_tokens",
        ),
    )


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


def _response(status: HTTPStatus, request_id: str, body: Any) -> dict[str, Any]:
    return {"status_code": int(status), "request_id": request_id, "body": body}


def _line(
    name: str,
    custom_id: str,
    *,
    response: dict[str, Any] | None = None,
    error: dict[str, str] | None = None,
) -> bytes:
    line = {"id": name, "custom_id": custom_id, "response": response, "error": error}
    return to_json(line, inf_nan_mode="null") + b"\n"
