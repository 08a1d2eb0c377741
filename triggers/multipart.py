"""multipart/form-data (RFC 7578) as it arrives: no file is held in memory or on disk."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from contracts.errors import InvalidRequest, PayloadTooLarge
from contracts.problems import FieldProblem
from triggers.http import Request

MOST_FIELD_BYTES = 64 * 1024
"""Of a field that is no file."""


@dataclass(slots=True)
class Part:
    """One part of the form. Its pieces are to be read before the next part is asked for."""

    name: str
    filename: str | None
    pieces: AsyncIterator[bytes]

    async def text(self) -> str:
        """A field's value. Raises PayloadTooLarge and InvalidRequest."""
        value = b""
        async for piece in self.pieces:
            value += piece
            if len(value) > MOST_FIELD_BYTES:
                raise PayloadTooLarge(f"The form's field `{self.name[:64]}` is too long.")
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise _wrong(self.name[:64], "UTF-8 text") from None


async def parts(req: Request) -> AsyncIterator[Part]:
    """The form's parts, in their order. Raises InvalidRequest for what is no such form."""
    reader = _Reader(req)
    while (head := await reader.head()) is not None:
        part = Part(*head, reader.body())
        yield part
        async for _ in part.pieces:
            pass  # what nobody wanted


@dataclass(slots=True)
class _Head:
    """The headers of a part, as they are parsed."""

    fields: dict[bytes, bytes] = field(default_factory=dict)
    name: bytes = b""
    value: bytes = b""


class _Reader:
    """Turns the parser's calls into heads and pieces: a tuple, bytes, or None for a part's end."""

    def __init__(self, req: Request) -> None:
        kind, options = parse_options_header(req.headers.get("content-type", ""))
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise _wrong("content-type", "multipart/form-data with a boundary")
        self._stream = req.stream()
        self._events: deque[tuple[str, str | None] | bytes | None] = deque()
        self._head = _Head()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._field,
                    "on_header_value": self._value,
                    "on_header_end": self._header,
                    "on_headers_finished": self._headers,
                    "on_part_data": self._data,
                    "on_part_end": self._end,
                    "on_end": self._last,
                },
            )
        except FormParserError:
            raise _wrong("content-type", "multipart/form-data with a shorter boundary") from None
        self._over = False
        self._complete = False

    async def head(self) -> tuple[str, str | None] | None:
        """Of the next part; None after the last."""
        while await self._fill():
            if isinstance(event := self._events.popleft(), tuple):
                return event
        return None

    async def body(self) -> AsyncIterator[bytes]:
        """The rest of the present part."""
        while await self._fill():
            if isinstance(self._events[0], tuple):
                return
            event = self._events.popleft()
            if not isinstance(event, bytes):
                return
            yield event

    async def _fill(self) -> bool:
        """Read on until something has happened; False at the end of the form."""
        while not self._events:
            if self._over:
                return False
            try:
                self._parser.write(await anext(self._stream))
            except StopAsyncIteration:
                self._over = True
                if not self._complete:
                    raise _wrong("(body)", "multipart/form-data to its last boundary") from None
            except FormParserError:
                raise _wrong("(body)", "multipart/form-data") from None
        return True

    def _begin(self) -> None:
        self._head = _Head()

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._head.name += data[start:end]

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._head.value += data[start:end]

    def _header(self) -> None:
        head = self._head
        head.fields[head.name.lower()] = head.value
        head.name = head.value = b""

    def _headers(self) -> None:
        _, options = parse_options_header(self._head.fields.get(b"content-disposition", b""))
        filename = options.get(b"filename")
        name = options.get(b"name", b"").decode(errors="replace")
        self._events.append((name, None if filename is None else filename.decode(errors="replace")))

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])

    def _end(self) -> None:
        self._events.append(None)

    def _last(self) -> None:
        self._complete = True


def _wrong(name: str, expected: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{name}` is not as expected: {expected}.", [FieldProblem(field=name, expected=expected)]
    )
