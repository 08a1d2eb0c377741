"""The lines of a batch that failed, as the input of another."""

from __future__ import annotations

from collections.abc import AsyncIterator

from batches.lines import cut, parse
from batches.part_writer import ANY_LENGTH
from batches.results import read_ended
from contracts.batches import AcceptedBatch, BatchLine
from contracts.errors import Conflict
from stores.files import FileStore


async def failed_lines(
    files: FileStore, batch: AcceptedBatch, error_file_id: str
) -> AsyncIterator[bytes]:
    """The input's lines whose ids stand in the error file. Raises Conflict when a file is gone."""
    errors = await files.get(batch.tenant, error_file_id)
    stored = await files.get(batch.tenant, batch.request.input_file_id)
    if errors is None or stored is None:
        raise Conflict("The batch's input or error file was deleted: its lines cannot be had.")
    # Hashes, for 100,000 ids of 512 characters would take a lot of room.
    failed = {
        hash(read_ended(line.text)[0]) async for line in cut(files.content(errors), most=ANY_LENGTH)
    }
    async for line in cut(files.content(stored)):
        parsed = parse(line.text)
        if isinstance(parsed, BatchLine) and hash(parsed.custom_id) in failed:
            yield line.text + b"\n"
