"""Server-sent events that pass through: whole events at a time, with an eye on what was used.

https://html.spec.whatwg.org/multipage/server-sent-events.html: an event ends with an empty line.
"""

from __future__ import annotations

import re

from pydantic import JsonValue

from endpoints import json_body
from endpoints.json_body import NotJson

_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_USAGE = b'"usage"'


class EventReader:
    """Fed with pieces as they arrive, gives back the whole events among them.

    With `hide_usage`, a chunk that holds nothing but usage is kept back: it was asked for on this
    app's own account, and a client that did not ask may not expect a chunk without choices.
    """

    def __init__(self, *, hide_usage: bool) -> None:
        self._hide_usage = hide_usage
        self._rest = b""
        self.answer: JsonValue = None
        """The last piece of the answer that told usage, for the protocol to read it."""

    def feed(self, piece: bytes) -> bytes:
        data = self._rest + piece
        passed: list[bytes] = []
        start = 0
        for end in _END.finditer(data):
            event = data[start : end.end()]
            start = end.end()
            if self._passes(event):
                passed.append(event)
        self._rest = data[start:]
        return b"".join(passed)

    def end(self) -> bytes:
        """What came after the last whole event."""
        rest, self._rest = self._rest, b""
        return rest

    def _passes(self, event: bytes) -> bool:
        if _USAGE not in event:
            return True
        chunk = _data(event)
        if not isinstance(chunk, dict):
            return True
        # The Responses API tells usage in its last event, inside the whole response.
        told = chunk.get("response") if isinstance(chunk.get("response"), dict) else chunk
        if not isinstance(told, dict) or not isinstance(told.get("usage"), dict):
            return True
        self.answer = told
        return not (self._hide_usage and chunk.get("choices") == [])


def _data(event: bytes) -> JsonValue:
    """The event's data as JSON; None when it is none."""
    lines = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    data = b"\n".join(line[5:].strip() for line in lines if line.startswith(b"data:"))
    try:
        return json_body.decode(data)
    except NotJson:
        return None
