"""Input files of batches, and streams of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

from batches.lines import MOST_LINE_BYTES, RawLine, cut

CHAT = "/v1/chat/completions"


def chat_line(custom_id: str, /, **changes: Any) -> dict[str, Any]:
    body = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body} | changes


def job_line(custom_id: str, /, **body: Any) -> dict[str, Any]:
    job = {"flow": "f", "input": {"text": "hi"}} | body
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/jobs", "body": job}


def jsonl(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def chat_file(count: int) -> bytes:
    return jsonl(*(chat_line(f"r{n}") for n in range(count)))


async def streamed(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def chopped(data: bytes, places: Iterable[int]) -> list[bytes]:
    """The data in pieces that end at these places; some may be empty."""
    ends = sorted({min(place, len(data)) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


async def cut_all(
    pieces: Iterable[bytes], offset: int = 0, number: int = 1, most: int = MOST_LINE_BYTES
) -> list[RawLine]:
    return [line async for line in cut(streamed(pieces), offset=offset, number=number, most=most)]
