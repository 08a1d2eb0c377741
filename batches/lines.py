"""Lines of an input file: cut out of a stream of bytes, and checked one by one.

The codes are those of the OpenAI Batch API.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import from_json

from batches.seen import Seen
from contracts.batches import JOBS_ENDPOINT, BatchLine, LineProblem
from contracts.jobs import JobRequest
from contracts.states import Execution

MOST_LINES = 100_000
"""Of a batch: Azure OpenAI's limit; OpenAI's own is 50,000."""
MOST_LINE_BYTES = 8 * 1024 * 1024
"""A longer line could not pass through the doors or queues of most models either."""

_BOM = b"\xef\xbb\xbf"
_LONGEST_SHOWN = 64
"""Characters of what a caller wrote, where it is told back."""


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
    pieces: AsyncIterator[bytes],
    *,
    offset: int = 0,
    number: int = 1,
    most: int = MOST_LINE_BYTES,
) -> AsyncGenerator[RawLine]:
    """Lines of a file whose bytes arrive in pieces, from `offset` on. Of a line over `most` bytes
    nothing is kept."""
    rest = bytearray()
    begin = at = offset
    too_long = False
    async for piece in pieces:
        start = 0
        while (found := piece.find(b"\n", start)) >= 0:
            rest += piece[start:found]
            end = at + found + 1
            yield _line(number, begin, rest, end, too_long=too_long or len(rest) > most)
            rest = bytearray()
            too_long = False
            number += 1
            begin = end
            start = found + 1
        rest += piece[start:]
        at += len(piece)
        if len(rest) > most:
            too_long = True
            rest = bytearray()
    if rest or too_long:
        yield _line(number, begin, rest, at, too_long=too_long)


def _line(number: int, offset: int, text: bytearray, end: int, *, too_long: bool) -> RawLine:
    if too_long:
        return RawLine(number, offset, b"", end, too_long=True)
    line = bytes(text)
    if offset == 0:
        line = line.removeprefix(_BOM)
    return RawLine(number, offset, line.removesuffix(b"\r"), end)


class LineChecker:
    """Checks lines of one batch: each by itself, and against those before it."""

    def __init__(self, endpoint: str, models: Collection[str], flows: Collection[str]) -> None:
        """`models` and `flows`: the names that there are."""
        self._endpoint = endpoint
        self._models = models
        self._flows = flows
        self._seen = Seen(MOST_LINES)
        self._model_line = 0
        self.model: str | None = None
        """The one model of the batch; None where lines name flows."""

    def check(self, line: RawLine) -> LineProblem | None:
        """The first thing that is wrong with a line that is not empty."""
        if line.too_long:
            return _problem(
                line, "invalid_json_line", f"The line is longer than {MOST_LINE_BYTES:,} bytes."
            )
        parsed = parse(line.text)
        if isinstance(parsed, Fault):
            return _problem(line, parsed.code, parsed.message, parsed.param)
        if parsed.url != self._endpoint:
            return _problem(
                line, "url_mismatch", f"`url` is not the batch's endpoint, {self._endpoint}.", "url"
            )
        if not self._seen.add(parsed.custom_id):
            return _problem(
                line,
                "duplicate_custom_id",
                "An earlier line has the same `custom_id`.",
                "custom_id",
            )
        if self._endpoint == JOBS_ENDPOINT:
            return self._check_job(line, parsed)
        return self._check_model(line, parsed)

    def _check_model(self, line: RawLine, parsed: BatchLine) -> LineProblem | None:
        model = parsed.body.get("model")
        if not isinstance(model, str) or not model:
            return _problem(line, "invalid_request", "`body.model` names no model.", "body.model")
        if self.model is None:
            if model.partition("@")[0] not in self._models:
                known = ", ".join(sorted(self._models)) or "none"
                return _problem(
                    line, "model_not_found", f"No such model; there are {known}.", "body.model"
                )
            self.model, self._model_line = model, line.number
        elif model != self.model:
            return _problem(
                line,
                "model_mismatch",
                "The lines of one batch ask the same model;"
                f" line {self._model_line} asks {self.model}.",
                "body.model",
            )
        if parsed.body.get("stream"):
            return _problem(line, "invalid_request", "A batch does not stream.", "body.stream")
        return None

    def _check_job(self, line: RawLine, parsed: BatchLine) -> LineProblem | None:
        try:
            job = JobRequest.model_validate(parsed.body)
        except ValidationError as error:
            wrong = _fault(error, "a job, as POST /v1/jobs takes it", "body.")
            return _problem(line, wrong.code, wrong.message, wrong.param)
        if job.flow not in self._flows:
            known = ", ".join(sorted(self._flows)) or "none"
            return _problem(
                line, "invalid_request", f"No such flow; there are {known}.", "body.flow"
            )
        if job.model is not None and job.model not in self._models:
            known = ", ".join(sorted(self._models)) or "none"
            return _problem(
                line, "model_not_found", f"No such model; there are {known}.", "body.model"
            )
        if job.execution is Execution.AT_MOST_ONCE:
            message = "Lines of a batch are run at least once: send such a job by itself."
            return _problem(line, "invalid_request", message, "body.execution")
        for field in ("deadline", "reply_to"):
            if getattr(job, field) is not None:
                message = f"A line has no `{field}` of its own: its batch has."
                return _problem(line, "invalid_request", message, f"body.{field}")
        return None


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a line by itself."""

    code: str
    message: str
    param: str | None = None


NOT_UTF8 = Fault("invalid_json_line", "The line is not UTF-8.")
NOT_JSON = Fault("invalid_json_line", "The line is not JSON.")
NOT_OBJECT = Fault("invalid_json_line", "The line is JSON, but no object.")


def parse(text: bytes) -> BatchLine | Fault:
    """The line, or the first thing that is wrong with it."""
    try:
        decoded = from_json(text, allow_inf_nan=False)
    except ValueError:
        return NOT_JSON if _is_utf8(text) else NOT_UTF8
    if not isinstance(decoded, dict):
        return NOT_OBJECT
    try:
        return BatchLine.model_validate(decoded)
    except ValidationError as error:
        return _fault(error, "custom_id, method (POST), url and body, and nothing else")


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _fault(error: ValidationError, expected: str, under: str = "") -> Fault:
    """Of the first field that is wrong. Its name may be the caller's own, so it is cut short."""
    place = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
    param = f"{under}{place}"[:_LONGEST_SHOWN]
    return Fault("invalid_request", f"`{param}` is not as expected: {expected}.", param)


def _problem(line: RawLine, code: str, message: str, param: str | None = None) -> LineProblem:
    return LineProblem(code=code, line=line.number, message=message, param=param)
