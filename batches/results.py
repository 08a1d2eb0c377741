"""What a line came to, as a line of the output or the error file."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from http import HTTPStatus

from pydantic import JsonValue

from contracts.batches import LineError, LineResponse, OutputLine, TokenCounts
from contracts.errors import ModelCallError, SluiceError


@dataclass(slots=True)
class Ended:
    """A line that has ended, ready to be appended."""

    custom_id: str
    failed: bool
    text: bytes
    """With its line break."""
    input_tokens: int = 0
    output_tokens: int = 0


def answered(
    batch_id: str, custom_id: str, request_id: str, body: JsonValue, tokens: TokenCounts
) -> Ended:
    response = LineResponse(status_code=HTTPStatus.OK, request_id=request_id, body=body)
    text = _text(OutputLine(id=_id(batch_id, custom_id), custom_id=custom_id, response=response))
    return Ended(custom_id, False, text, tokens.input_tokens, tokens.output_tokens)


def refused(batch_id: str, custom_id: str, error: SluiceError) -> Ended:
    """A line that failed for good. What came of a model is a response, with an OpenAI error object
    as its body; all else is an error."""
    line = OutputLine(id=_id(batch_id, custom_id), custom_id=custom_id)
    if isinstance(error, ModelCallError):
        body: JsonValue = {"error": {"message": error.detail, "code": error.code}}
        line.response = LineResponse(status_code=int(error.status), request_id=line.id, body=body)
    else:
        line.error = LineError(code=error.code, message=error.detail)
    return Ended(custom_id, True, _text(line))


def not_run(batch_id: str, custom_id: str, code: str, message: str) -> Ended:
    """A line of a batch that expired or was cancelled before its turn."""
    error = LineError(code=code, message=message)
    text = _text(OutputLine(id=_id(batch_id, custom_id), custom_id=custom_id, error=error))
    return Ended(custom_id, True, text)


def _id(batch_id: str, custom_id: str) -> str:
    """The same however often a line is run."""
    digest = blake2b(f"{batch_id}\0{custom_id}".encode(), digest_size=16).hexdigest()
    return f"batch_req_{digest}"


def _text(line: OutputLine) -> bytes:
    return line.model_dump_json().encode() + b"\n"
