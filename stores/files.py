"""Files that were uploaded or written by a batch.

Names in the container: `TENANT/meta/ID` and `TENANT/content/ID`. Ids sort newest first. A file
that a batch has written is a list of the blobs that hold its parts: nothing is copied.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, unquote

from pydantic import BaseModel

from contracts.batches import FileObject, Purpose
from contracts.ids import is_file_id
from stores.blobs import Container
from stores.old import old_names


class StoredFile(BaseModel):
    """A file, and where its content is."""

    file: FileObject
    parts: list[str]
    """Names of blobs, in order."""


@dataclass(frozen=True, slots=True)
class FilePage:
    """Files, newest first, and whether there are more."""

    files: list[FileObject]
    more: bool


class FileStore:
    """Blobs of files. Methods raise DependencyUnavailable when storage cannot be used."""

    def __init__(self, container: Container) -> None:
        self._blobs = container

    async def upload(
        self, tenant: str, file: FileObject, pieces: AsyncIterator[bytes]
    ) -> FileObject:
        """Keep a file as its bytes arrive. `file.bytes` is set to what came."""
        content = f"{tenant}/content/{file.id}"
        size = await self._blobs.put_stream(content, pieces)
        return await self.put(tenant, file.model_copy(update={"bytes": size}), [content])

    async def put(self, tenant: str, file: FileObject, parts: list[str]) -> FileObject:
        """Keep a file whose content is already there. Again, over what is there."""
        stored = StoredFile(file=file, parts=parts)
        await self._blobs.put(
            f"{tenant}/meta/{file.id}",
            stored.model_dump_json().encode(),
            metadata={"file": quote(file.model_dump_json(), safe="")},  # for the list
        )
        return file

    async def get(self, tenant: str, file_id: str) -> StoredFile | None:
        """None when the tenant has no such file."""
        stored = await self._blobs.get(f"{tenant}/meta/{file_id}")
        return None if stored is None else StoredFile.model_validate_json(stored)

    async def page(
        self, tenant: str, *, after: str | None, most: int, purpose: Purpose | None = None
    ) -> FilePage:
        """Up to `most` files, newest first, from the one after `after` on."""
        files: list[FileObject] = []
        async for blob in self._blobs.descriptions(f"{tenant}/meta/"):
            if after is not None and blob.name <= after:
                continue
            file = FileObject.model_validate_json(unquote(blob.metadata["file"]))
            if purpose is not None and file.purpose != purpose:
                continue
            if len(files) == most:
                return FilePage(files, more=True)
            files.append(file)
        return FilePage(files, more=False)

    async def delete(self, tenant: str, file_id: str) -> bool:
        """Whether there was one."""
        stored = await self.get(tenant, file_id)
        if stored is None:
            await self._blobs.delete(f"{tenant}/content/{file_id}")
            return False
        for part in stored.parts:
            await self._blobs.delete(part)
        # What it is found by comes last: a removal that broke off can be made again.
        await self._blobs.delete(f"{tenant}/meta/{file_id}")
        return True

    async def content(self, stored: StoredFile) -> AsyncIterator[bytes]:
        """The file's bytes, piece by piece."""
        for part in stored.parts:
            async for piece in self._blobs.read(part):
                yield piece

    def read(
        self, stored: StoredFile, *, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """A range of an uploaded file, which has one part."""
        return self._blobs.read(stored.parts[0], offset=offset, length=length)

    # Retention.

    async def tenants(self) -> set[str]:
        """Those that have files or batches."""
        return await self._blobs.folders()

    async def old(self, tenant: str, before: datetime) -> AsyncIterator[list[str]]:
        """Pages of files whose ids are from before then; also of content that an upload left
        behind which nobody came to know of."""
        for what in ("meta", "content"):
            async for page in old_names(
                self._blobs, f"{tenant}/{what}/", "file-", is_file_id, before
            ):
                yield page


async def newest(
    blobs: Container, prefix: str, *, after: str | None, most: int
) -> tuple[list[str], bool]:
    """Names under a prefix, from the one after `after` on, and whether there are more.

    Ids sort newest first, and so do names in a listing; what was listed before is passed over.
    """
    names: list[str] = []
    token = None
    while True:
        page = await blobs.page(prefix, token=token, most=1000)
        names += [name for name in page.names if after is None or name > after]
        token = page.token
        if len(names) > most or token is None:
            return names[:most], len(names) > most
