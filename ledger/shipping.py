"""Takes a segment's records to its blob: exactly once, since the blob is a prefix of the file.

An append names the length that the blob is to have before it. One that was repeated, or that had
arrived although nobody heard so, finds another length, adds nothing, and tells how long it is.
"""

from __future__ import annotations

from contracts.errors import DependencyUnavailable
from ledger.segments import Segment
from stores.ledger import LedgerStore

BLOCK_BYTES = 4 * 1024 * 1024
"""Of one append: all versions of Blob Storage take as much."""


async def ship(store: LedgerStore, segment: Segment) -> None:
    """Until what was written before this is in the blob. Raises DependencyUnavailable."""
    size = segment.size
    while segment.shipped < size:
        block = whole_lines(segment.read(segment.shipped, min(BLOCK_BYTES, size - segment.shipped)))
        length = await store.append_at(segment.blob, block, segment.shipped)
        segment.blocks += 1
        if length > segment.size:
            raise DependencyUnavailable(
                f"Somebody else has written to {segment.blob} in the ledger's container."
            )
        segment.shipped = length


def whole_lines(data: bytes) -> bytes:
    return data[: data.rfind(b"\n") + 1]
