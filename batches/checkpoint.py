"""What of a slice has ended: two append blobs, which grow by whole lines.

One block is appended at a time, and each holds whole lines, so a crash leaves no part of a line.
An append names the position that it was made for: when two runs of a slice meet, the second to
append finds out and gives up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from pydantic_core import from_json

from batches.lines import cut
from batches.results import Ended
from contracts.batches import TokenCounts
from contracts.errors import Overtaken
from stores.batches import BatchStore

MOST_BLOCK_BYTES = 4 * 1024 * 1024
"""Of several lines; one line alone may be longer, up to the service's 100 MiB."""
DESCRIBE_EVERY = 1.0
"""Seconds, for progress to be seen."""


class _Part:
    """One of the two blobs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.position = 0
        self.lines = 0
        self.tokens = TokenCounts()

    def count(self, ended: Ended) -> None:
        self.lines += 1
        self.tokens.input_tokens += ended.input_tokens
        self.tokens.output_tokens += ended.output_tokens


class Checkpoint:
    """Of one slice, written by one run of it."""

    def __init__(self, store: BatchStore, out: str, err: str) -> None:
        self._store = store
        self._out, self._err = _Part(out), _Part(err)
        self._described_at = time.monotonic()

    @property
    def completed(self) -> int:
        return self._out.lines

    @property
    def failed(self) -> int:
        return self._err.lines

    async def read(self) -> set[str]:
        """The custom_ids of the lines that have ended."""
        ended: set[str] = set()
        for part in (self._out, self._err):
            async for line in cut(self._store.lines(part.name)):
                part.position = line.end
                parsed = from_json(line.text)
                ended.add(parsed["custom_id"])
                part.lines += 1
                _count_usage(part.tokens, parsed)
        return ended

    async def write(self, lines: Iterable[Ended]) -> None:
        """Append lines. Raises Overtaken, and DependencyUnavailable."""
        lines = list(lines)
        for part, failed in ((self._out, False), (self._err, True)):
            mine = [line for line in lines if line.failed is failed]
            for block in _blocks(mine):
                await self._append(part, block)
        if time.monotonic() - self._described_at >= DESCRIBE_EVERY:
            await self.describe()

    async def describe(self) -> None:
        """Note the counts where progress is looked up."""
        self._described_at = time.monotonic()
        await asyncio.gather(
            *(
                self._store.describe(part.name, part.lines, part.tokens)
                for part in (self._out, self._err)
                if part.lines
            )
        )

    async def _append(self, part: _Part, block: list[Ended]) -> None:
        data = b"".join(line.text for line in block)
        position = await self._store.append(part.name, data, part.position)
        if position is None:
            raise Overtaken("Another worker carries the same slice. It is started again.")
        part.position = position
        for line in block:
            part.count(line)


def _blocks(lines: list[Ended]) -> Iterable[list[Ended]]:
    block: list[Ended] = []
    size = 0
    for line in lines:
        if block and size + len(line.text) > MOST_BLOCK_BYTES:
            yield block
            block, size = [], 0
        block.append(line)
        size += len(line.text)
    if block:
        yield block


def _count_usage(tokens: TokenCounts, line: dict[str, object]) -> None:
    """What an earlier run's line used, as its body tells."""
    match line:
        case {"response": {"body": {"usage": {**usage}}}}:
            tokens.input_tokens += _number(usage.get("prompt_tokens", usage.get("input_tokens")))
            tokens.output_tokens += _number(
                usage.get("completion_tokens", usage.get("output_tokens"))
            )


def _number(value: object) -> int:
    return value if type(value) is int and value > 0 else 0
