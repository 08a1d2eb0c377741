"""An answer in events, with a placeholder split over several.

What may be the beginning of a placeholder is kept back, a few characters at most, until the next
piece of the same text tells. The events are those of OpenAI's chat completions, completions and
responses; in others a placeholder must stand in one event to be found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from endpoints import json_body
from endpoints.json_body import NotJson
from policies.privacy import texts
from policies.privacy.pieces import Key, Piece, add, finished, pieces
from policies.privacy.placeholders import Placeholders

_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(slots=True)
class Event:
    """An event, read."""

    lines: list[bytes]
    """All but its data."""
    data: dict[str, Any]

    def encoded(self) -> bytes:
        return b"\n".join([*self.lines, b"data: " + json_body.encode(self.data), b"", b""])


@dataclass(slots=True)
class Text:
    """One of the answer's texts, as far as it has come."""

    last: Event
    """That had a piece of it."""
    in_json: bool | None
    """None while nothing but white space has come."""
    held: str = ""


class EventRestorer:
    """See `contracts.privacy.EventRewriter`."""

    def __init__(self, placeholders: Placeholders) -> None:
        self._placeholders = placeholders
        self._texts: dict[Key, Text] = {}
        self._added = 0
        """Events that were not the model's: the numbers of those after them move on."""

    def feed(self, events: bytes) -> bytes:
        done: list[bytes] = []
        start = 0
        for end in _END.finditer(events):
            done.append(self._event(events[start : end.end()]))
            start = end.end()
        if start < len(events):  # what no empty line ended, and is the stream's last
            done.append(self._event(events[start:]))
        return b"".join(done)

    def end(self) -> bytes:
        return b"".join(self._flushed())

    def _event(self, raw: bytes) -> bytes:
        event = _read(raw)
        if event is None:
            return b"".join([*(self._flushed() if b"[DONE]" in raw else ()), raw])
        came = list(pieces(event.data))
        number = event.data.get("sequence_number")
        flushed: list[bytes] = []
        changed = False
        if came or "choices" in event.data:
            for piece in came:
                changed |= self._go_on(event, piece)
            for choice in finished(event.data):
                changed |= self._finish(choice)
        else:
            flushed = list(self._flushed())
            new = texts.rewritten(event.data, self._placeholders.restored)
            changed = new != event.data
            assert isinstance(new, dict)
            event.data = new
        if self._added and isinstance(number, int):
            event.data["sequence_number"] = number + self._added
            changed = True
        return b"".join([*flushed, event.encoded() if changed else raw])

    def _go_on(self, event: Event, piece: Piece) -> bool:
        """Restore a piece; whether that changed it."""
        came = piece.part[piece.field]
        text = self._texts.get(piece.key)
        if text is None:
            in_json = True if piece.in_json else None
            text = self._texts[piece.key] = Text(event, in_json)
        text.last = event
        if text.in_json is None and came.strip():
            text.in_json = texts.looks_like_json(came)
        so_far = text.held + came
        at = self._placeholders.unfinished(so_far)
        shown, text.held = so_far[:at], so_far[at:]
        shown = self._placeholders.restored(shown, in_json=text.in_json is True)
        piece.part[piece.field] = shown
        return bool(shown != came)

    def _finish(self, choice: dict[str, Any]) -> bool:
        """A choice has come to its end: what was kept back of it is no placeholder."""
        changed = False
        for key, text in self._texts.items():
            if key[:2] == ("chat", choice.get("index")) and text.held:
                add(choice, key, text.held)
                text.held = ""
                changed = True
        return changed

    def _flushed(self) -> Iterator[bytes]:
        """What was kept back, in events of its own."""
        for key, text in self._texts.items():
            if not text.held:
                continue
            data = {name: value for name, value in text.last.data.items() if name != "usage"}
            if key[0] == "chat":
                choice = {"index": key[1], "delta": {}, "finish_reason": None}
                add(choice, key, text.held)
                data["choices"] = [choice]
            else:
                data["delta"] = text.held
                if isinstance(number := data.get("sequence_number"), int):
                    data["sequence_number"] = number + 1
                    self._added += 1
            text.held = ""
            yield Event(text.last.lines, data).encoded()


def _read(raw: bytes) -> Event | None:
    """None when its data is no object of JSON."""
    lines = [line for line in _LINE_END.split(raw) if line]
    data = b"\n".join(line[5:].strip() for line in lines if line.startswith(b"data:"))
    try:
        value = json_body.decode(data)
    except NotJson:
        return None
    if not isinstance(value, dict):
        return None
    return Event([line for line in lines if not line.startswith(b"data:")], value)
