"""Lines of an input file: cut out of a stream of bytes, and checked one by one.

The codes are those of the OpenAI Batch API.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from contracts.batches import BatchLine, LineProblem

MOST_LINE_BYTES = 8 * 1024 * 1024
"""A longer line could not pass through the doors or queues of most models either."""

_BOM = b"\xef\xbb\xbf"
_SHOWN_ID = 64


@dataclass(frozen=True, slots=True)
class RawLine:
    """A line as it stands in the file, without its line break."""

    number: int
    """1 for the file's first."""
    offset: int
    """Of its first byte in the file."""
    text: bytes
    end: int
    """Of its line break's end: where the next line begins."""
    too_long: bool = False

    @property
    def empty(self) -> bool:
        return not self.too_long and not self.text.strip()


async def cut(
    pieces: AsyncIterator[bytes], *, offset: int = 0, number: int = 1
) -> AsyncIterator[RawLine]:
    """Lines of a file whose bytes arrive in pieces, from `offset` on. Of a line over
    MOST_LINE_BYTES nothing is kept."""
    rest = bytearray()
    begin = at = offset
    too_long = False
    async for piece in pieces:
        start = 0
        while (found := piece.find(b"\n", start)) >= 0:
            rest += piece[start:found]
            end = at + found + 1
            yield _line(number, begin, rest, end, too_long=too_long or len(rest) > MOST_LINE_BYTES)
            rest = bytearray()
            too_long = False
            number += 1
            begin = end
            start = found + 1
        rest += piece[start:]
        at += len(piece)
        if len(rest) > MOST_LINE_BYTES:
            too_long = True
            rest = bytearray()
    if rest or too_long:
        yield _line(number, begin, rest, at, too_long=too_long)


def _line(number: int, offset: int, text: bytearray, end: int, *, too_long: bool) -> RawLine:
    if too_long:
        return RawLine(number, offset, b"", end, too_long=True)
    line = bytes(text)
    if number == 1 and offset == 0:
        line = line.removeprefix(_BOM)
    return RawLine(number, offset, line.removesuffix(b"\r"), end)


class LineChecker:
    """Checks lines of one batch: each by itself, and against those before it."""

    def __init__(self, endpoint: str, models: Collection[str]) -> None:
        self._endpoint = endpoint
        self._models = models
        self._seen: set[int] = set()
        self.model: str | None = None
        """The one model of the batch; None where lines name flows."""

    def check(self, line: RawLine) -> LineProblem | None:
        """The first thing that is wrong with a line that is not empty."""
        if line.too_long:
            return _problem(
                line, "invalid_json_line", f"The line is longer than {MOST_LINE_BYTES:,} bytes."
            )
        parsed = parse(line.text)
        if isinstance(parsed, str):
            return _problem(line, *_coded(parsed))
        if parsed.url != self._endpoint:
            return _problem(
                line, "url_mismatch", f"`url` is not the batch's endpoint, {self._endpoint}.", "url"
            )
        # Hashes, for 100,000 ids of 512 characters would take a lot of room.
        key = hash(parsed.custom_id)
        if key in self._seen:
            return _problem(
                line,
                "duplicate_custom_id",
                "An earlier line has the same `custom_id`.",
                "custom_id",
            )
        self._seen.add(key)
        return None if self._endpoint == "/v1/jobs" else self._check_model(line, parsed)

    def _check_model(self, line: RawLine, parsed: BatchLine) -> LineProblem | None:
        model = parsed.body.get("model")
        if not isinstance(model, str) or not model:
            return _problem(line, "invalid_request", "`body.model` names no model.", "body.model")
        if self.model is None:
            if model.partition("@")[0] not in self._models:
                known = ", ".join(sorted(self._models))
                return _problem(
                    line, "model_not_found", f"No such model; there are {known}.", "body.model"
                )
            self.model = model
        elif model != self.model:
            return _problem(
                line,
                "model_mismatch",
                f"The lines of one batch ask the same model; line 1 asks {self.model}.",
                "body.model",
            )
        if parsed.body.get("stream"):
            return _problem(line, "invalid_request", "A batch does not stream.", "body.stream")
        return None


def parse(text: bytes) -> BatchLine | str:
    """The line, or what is wrong: one of the words of `_PROBLEMS`, or a field's name."""
    try:
        decoded: Any = json.loads(text.decode())
    except UnicodeDecodeError:
        return "not_utf8"
    except (ValueError, RecursionError):
        return "not_json"
    if not isinstance(decoded, dict):
        return "not_object"
    try:
        return BatchLine.model_validate(decoded)
    except ValidationError as error:
        return ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])


_PROBLEMS = {
    "not_utf8": ("invalid_json_line", "The line is not UTF-8."),
    "not_json": ("invalid_json_line", "The line is not JSON."),
    "not_object": ("invalid_json_line", "The line is JSON, but no object."),
}


def _coded(problem: str) -> tuple[str, str, str | None]:
    if problem in _PROBLEMS:
        return (*_PROBLEMS[problem], None)
    expected = "expected custom_id, method (POST), url and body, and nothing else"
    return "invalid_request", f"`{problem[:_SHOWN_ID]}` is not as expected: {expected}.", problem


def _problem(line: RawLine, code: str, message: str, param: str | None = None) -> LineProblem:
    return LineProblem(code=code, line=line.number, message=message, param=param)
