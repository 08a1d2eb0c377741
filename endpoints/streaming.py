"""An answer on its way to the caller, event by event."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from pydantic import JsonValue

from contracts.errors import OutcomeUnknown
from contracts.privacy import EventRewriter
from endpoints.sse import EventReader
from endpoints.verdicts import ANSWERED, CANCELLED, Verdict
from endpoints.wire import BrokenStream, Stream

type Ended = Callable[[Verdict, JsonValue, int], None]
"""Told how it ended, what told of usage, and how many bytes came."""


class Streaming:
    """Whoever holds it reads it to its end or closes it: until then it keeps a slot."""

    def __init__(
        self,
        model: str,
        stream: Stream,
        events: EventReader,
        ended: Ended,
        rewriter: EventRewriter | None = None,
    ) -> None:
        self.content_type = stream.headers.get("content-type", "text/event-stream")
        self._model = model
        self._stream = stream
        self._events = events
        self._rewriter = rewriter
        self._tell: Ended | None = ended
        self._at_end: Callable[[], None] | None = None
        self._size = 0

    def at_end(self, call: Callable[[], None]) -> None:
        """To be called once it has ended, and its attempt knows what it used."""
        self._at_end = call

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Whole events as they arrive. Raises OutcomeUnknown when the answer breaks off."""
        try:
            async for piece in self._stream:
                self._size += len(piece)
                events = self._events.feed(piece)
                if events and (shown := self._rewritten(events)):
                    yield shown
            if rest := self._rewritten(self._events.end(), last=True):
                yield rest
            self._end(ANSWERED)
        except BrokenStream as error:
            self._end(Verdict("unknown", str(error), may_have_run=True))
            raise OutcomeUnknown(f"The answer of model {self._model} broke off: {error}.") from None
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Take no more of it. May be called again."""
        await self._stream.aclose()
        self._end(CANCELLED)

    def _rewritten(self, events: bytes, *, last: bool = False) -> bytes:
        if self._rewriter is None:
            return events
        shown = self._rewriter.feed(events)
        return shown + self._rewriter.end() if last else shown

    def _end(self, verdict: Verdict) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell(verdict, self._events.answer, self._size)
            if self._at_end is not None:
                self._at_end()
