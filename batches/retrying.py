"""The lines of a batch that failed, as the input of another."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydantic_core import from_json

from batches.lines import cut, parse
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
    failed = {hash(from_json(line.text)["custom_id"]) async for line in cut(files.content(errors))}
    async for line in cut(files.content(stored)):
        parsed = parse(line.text)
        if isinstance(parsed, BatchLine) and hash(parsed.custom_id) in failed:
            yield line.text + b"\n"
