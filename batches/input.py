"""The input of a batch: its file, made of a blob if need be, and the lines of its slices."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydantic_core import from_json

from batches.lines import cut, parse
from contracts.batches import AcceptedBatch, BatchLine, FileObject, InputBlob, Slice
from contracts.errors import InputGone
from stores.files import FileStore, StoredFile
from stores.input_blobs import InputBlobs


async def input_file(
    files: FileStore, blobs: InputBlobs, batch: AcceptedBatch
) -> StoredFile | None:
    """The file; None when there is none. Raises Conflict when the blob that it is to be made of is
    not there as it was."""
    stored = await files.get(batch.tenant, batch.request.input_file_id)
    if stored is not None or batch.input_blob is None:
        return stored
    file = _file(batch, batch.input_blob)
    await files.upload(batch.tenant, file, blobs.read(batch.input_blob))
    return await files.get(batch.tenant, file.id)


async def slice_lines(
    files: FileStore, batch: AcceptedBatch, piece: Slice
) -> AsyncIterator[BatchLine]:
    """A slice's lines, in order. Raises InputGone."""
    async for text in _texts(files, batch, piece):
        line = parse(text)
        assert isinstance(line, BatchLine), "all were checked"
        yield line


async def slice_ids(files: FileStore, batch: AcceptedBatch, piece: Slice) -> AsyncIterator[str]:
    """The custom_ids of a slice's lines, in a third of the time. Raises InputGone."""
    async for text in _texts(files, batch, piece):
        yield from_json(text)["custom_id"]


async def _texts(files: FileStore, batch: AcceptedBatch, piece: Slice) -> AsyncIterator[bytes]:
    stored = await files.get(batch.tenant, batch.request.input_file_id)
    if stored is None:
        raise InputGone("The batch's input file was deleted: its other lines cannot be run.")
    pieces = files.read(stored, offset=piece.offset, length=piece.length)
    async for line in cut(pieces, offset=piece.offset, number=piece.first_line):
        if not line.empty:
            yield line.text


def _file(batch: AcceptedBatch, blob: InputBlob) -> FileObject:
    return FileObject(
        id=batch.request.input_file_id,
        bytes=0,
        created_at=int(batch.created_at.timestamp()),
        filename=blob.name.rpartition("/")[2][-255:],
        purpose="batch",
    )
