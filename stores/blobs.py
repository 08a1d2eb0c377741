"""A container of blobs: the few operations the stores need, with this app's errors."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)

from contracts.errors import Conflict, DependencyUnavailable, InvalidRequest
from contracts.problems import FieldProblem

if TYPE_CHECKING:  # half a second of imports, left to the first request
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.storage.blob.aio import BlobServiceClient, ContainerClient


_log = logging.getLogger("sluice.stores")

BLOCK_BYTES = 4 * 1024 * 1024
"""Of a streamed upload or download. 50,000 blocks make 200 GB."""
LARGE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Page:
    """A page of names, and the token of the next one when there may be one."""

    names: list[str]
    token: str | None


@dataclass(frozen=True, slots=True)
class Described:
    """A blob without its content."""

    name: str
    size: int
    """In bytes."""
    etag: str
    """Another after each change."""
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class Taken:
    """An append blob that is written from now on under this etag."""

    etag: str
    new: bool


@dataclass(frozen=True, slots=True)
class StorageAccount:
    """Where the account is: a connection string, or a URL reached with a managed identity."""

    connection_string: str | None = None
    blob_url: str | None = None

    @property
    def name(self) -> str:
        """The same for the same account, whatever the credential."""
        if self.blob_url is not None:
            return self.blob_url
        fields = (self.connection_string or "").split(";")
        shown = ("AccountName=", "BlobEndpoint=", "EndpointSuffix=", "UseDevelopmentStorage=")
        return ";".join(sorted(field for field in fields if field.startswith(shown)))

    def open(self) -> BlobServiceClient:
        """A client that retries nothing: waiting is the orchestrator's."""
        from azure.storage.blob.aio import BlobServiceClient

        if self.connection_string is not None:
            return BlobServiceClient.from_connection_string(
                self.connection_string, **_CLIENT_OPTIONS
            )
        assert self.blob_url is not None
        return BlobServiceClient(self.blob_url, credential=_managed_identity(), **_CLIENT_OPTIONS)


_CLIENT_OPTIONS: dict[str, Any] = {
    "retry_total": 0,
    "logging_enable": False,
    # The SDK would hold the first 32 MB of whatever is read.
    "max_single_get_size": BLOCK_BYTES,
    "max_chunk_get_size": BLOCK_BYTES,
}


def _managed_identity() -> AsyncTokenCredential:
    from azure.identity.aio import DefaultAzureCredential

    return DefaultAzureCredential()


class Container:
    """One container, made when it is first found missing.

    Every method raises DependencyUnavailable when the account cannot be used.
    """

    def __init__(self, open_service: Callable[[], BlobServiceClient], name: str) -> None:
        """`open_service` is called once, when the container is first used."""
        self._open_service = open_service
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def url(self) -> str:
        """Without a credential."""
        return str(self._client.url).partition("?")[0]

    @cached_property
    def _client(self) -> ContainerClient:
        return self._open_service().get_container_client(self._name)

    async def put(
        self,
        name: str,
        data: bytes,
        *,
        content_type: str = "application/json",
        metadata: dict[str, str] | None = None,
    ) -> None:
        """Write a blob, over what is there."""
        await self._write(name, data, content_type, metadata, overwrite=True)

    async def put_new(
        self,
        name: str,
        data: bytes,
        *,
        content_type: str = "application/json",
        metadata: dict[str, str] | None = None,
    ) -> bool:
        """Write a blob only when there is none of that name; False when there is one."""
        try:
            await self._write(name, data, content_type, metadata, overwrite=False)
        except ResourceExistsError:
            return False
        return True

    async def get(self, name: str) -> bytes | None:
        """A blob's content; None when there is no such blob."""
        async with self._errors():
            try:
                stream = await self._client.download_blob(name, max_concurrency=1)
                return await stream.readall()
            except ResourceNotFoundError:
                return None

    async def append(self, name: str, data: bytes, *, most_bytes: int) -> bool:
        """Add to the end of an append blob, made when there is none.

        False, with nothing added, when it would be longer than `most_bytes`.
        """
        async with self._errors():
            try:
                return await self._append(name, data, most_bytes)
            except ResourceNotFoundError:
                await self._make_append_blob(name)
                return await self._append(name, data, most_bytes)

    async def put_stream(self, name: str, pieces: AsyncIterator[bytes]) -> int:
        """Write a blob of any size, over what is there, and return its size in bytes. At most two
        blocks of it are in memory; nothing is to be seen of it before all of it is there."""
        async with self._errors():
            if not await self._client.exists():
                await self._make()
            return await self._stage(name, pieces)

    async def read(
        self, name: str, *, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """A blob's content from `offset` on, piece by piece; nothing when there is no such blob.

        A blob that changes meanwhile cannot be read on.
        """
        async with self._errors():
            if length == 0:
                return
            try:
                stream = await self._client.download_blob(
                    name, offset=offset, length=length, max_concurrency=1
                )
            except ResourceNotFoundError:
                return
            except HttpResponseError as error:
                if error.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    return
                raise
            async for piece in stream.chunks():
                yield piece

    async def read_as(self, name: str, etag: str) -> AsyncIterator[bytes]:
        """The content of a blob that has this etag, piece by piece. Raises Conflict when it has
        another, or is gone."""
        async with self._errors():
            try:
                stream = await self._client.download_blob(
                    name,
                    etag=etag,
                    match_condition=MatchConditions.IfNotModified,
                    max_concurrency=1,
                )
                async for piece in stream.chunks():
                    yield piece
            except (ResourceModifiedError, ResourceNotFoundError):
                raise Conflict(f"The blob {name} was changed or deleted.") from None

    async def take(self, name: str, metadata: dict[str, str]) -> Taken:
        """An append blob, made if there is none, with this metadata.

        Whoever appends under an earlier etag from now on is turned away.
        """
        async with self._errors():
            etag = await self._make_append_blob(name, metadata)
            if etag is not None:
                return Taken(etag, new=True)
            changed = await self._client.get_blob_client(name).set_blob_metadata(metadata)
            return Taken(str(changed["etag"]), new=False)

    async def append_as(self, name: str, data: bytes, etag: str) -> str | None:
        """Add to the end of an append blob that has this etag, and return the next one.

        None, with nothing added, when it has another: it was changed since.
        """
        async with self._errors():
            blob = self._client.get_blob_client(name)
            try:
                added = await blob.append_block(
                    _body(data),
                    length=len(data),
                    etag=etag,
                    match_condition=MatchConditions.IfNotModified,
                )
            except ResourceModifiedError:
                return None
            return str(added["etag"])

    async def append_at(self, name: str, data: bytes, position: int) -> int:
        """Add to the end of an append blob that is this long, made when there is none; returns its
        length then. Of a blob that is not as long nothing changes, and its length is returned."""
        async with self._errors():
            if position == 0:
                await self._make_append_blob(name)
            blob = self._client.get_blob_client(name)
            try:
                await blob.append_block(_body(data), length=len(data), appendpos_condition=position)
            except ResourceNotFoundError:
                return 0
            except HttpResponseError as error:
                if error.status_code != HTTPStatus.PRECONDITION_FAILED:
                    raise
                return int((await blob.get_blob_properties()).size)
            return position + len(data)

    async def describe_as(self, name: str, metadata: dict[str, str], etag: str) -> str | None:
        """Set the metadata of a blob that has this etag: as `append_as`."""
        async with self._errors():
            blob = self._client.get_blob_client(name)
            try:
                changed = await blob.set_blob_metadata(
                    metadata, etag=etag, match_condition=MatchConditions.IfNotModified
                )
            except ResourceModifiedError:
                return None
            return str(changed["etag"])

    async def put_as(self, name: str, data: bytes, etag: str) -> bool:
        """Write over a blob that has this etag; False, with nothing written, when it has another,
        or is gone."""
        from azure.storage.blob import ContentSettings

        async with self._errors():
            try:
                await self._client.upload_blob(
                    name,
                    data,
                    length=len(data),
                    overwrite=True,
                    content_settings=ContentSettings(content_type="application/json"),
                    etag=etag,
                    match_condition=MatchConditions.IfNotModified,
                )
            except (ResourceModifiedError, ResourceNotFoundError):
                return False
            return True

    async def look(self, name: str) -> Described | None:
        """A blob without its content; None when there is no such blob."""
        async with self._errors():
            try:
                found = await self._client.get_blob_client(name).get_blob_properties()
            except ResourceNotFoundError:
                return None
            return Described(name, found.size, found.etag, dict(found.metadata or {}))

    async def descriptions(self, prefix: str) -> AsyncIterator[Described]:
        """All blobs whose names begin with `prefix`, in order, without the prefix."""
        async with self._errors():
            with suppress(ResourceNotFoundError):
                async for blob in self._client.list_blobs(
                    name_starts_with=prefix, include=["metadata"]
                ):
                    yield Described(
                        blob.name.removeprefix(prefix),
                        blob.size,
                        blob.etag,
                        dict(blob.metadata or {}),
                    )

    async def folders(self) -> set[str]:
        """The first parts of all names that have more than one."""
        from azure.storage.blob.aio import BlobPrefix

        found: set[str] = set()
        async with self._errors():
            with suppress(ResourceNotFoundError):
                async for each in self._client.walk_blobs(delimiter="/"):
                    if isinstance(each, BlobPrefix):
                        found.add(str(each.name).removesuffix("/"))
        return found

    async def delete(self, name: str) -> None:
        """Remove a blob, if there is one."""
        async with self._errors():
            with suppress(ResourceNotFoundError):
                await self._client.delete_blob(name)

    async def delete_as(self, name: str, etag: str) -> bool:
        """Remove a blob that has this etag; False when it has another, or is gone."""
        async with self._errors():
            try:
                await self._client.delete_blob(
                    name, etag=etag, match_condition=MatchConditions.IfNotModified
                )
            except (ResourceModifiedError, ResourceNotFoundError):
                return False
            return True

    async def page(self, prefix: str, *, token: str | None, most: int) -> Page:
        """Up to `most` names that begin with `prefix`, in order, without the prefix.

        `token` is a former page's; InvalidRequest when the account does not know it.
        """
        async with self._errors():
            try:
                pages = self._client.list_blobs(
                    name_starts_with=prefix, results_per_page=most
                ).by_page(continuation_token=token)
                async for page in pages:
                    names = [blob.name.removeprefix(prefix) async for blob in page]
                    return Page(names, getattr(pages, "continuation_token", None) or None)
            except ResourceNotFoundError:
                pass
            except HttpResponseError as error:
                if token is not None and error.status_code == HTTPStatus.BAD_REQUEST:
                    raise InvalidRequest(
                        "The page asked for does not exist: use a `next_after` as it was given.",
                        [FieldProblem(field="after", expected="a former page's `next_after`")],
                    ) from None
                raise
        return Page([], None)

    async def _stage(self, name: str, pieces: AsyncIterator[bytes]) -> int:
        from azure.storage.blob import BlobBlock

        blob = self._client.get_blob_client(name)
        blocks: list[BlobBlock] = []
        size = 0

        async def stage(block: bytes) -> None:
            number = f"{len(blocks):08d}"
            await blob.stage_block(number, _body(block), length=len(block))
            blocks.append(BlobBlock(number))

        buffer = bytearray()
        async for piece in pieces:
            size += len(piece)
            buffer += piece
            while len(buffer) >= BLOCK_BYTES:
                await stage(bytes(buffer[:BLOCK_BYTES]))
                del buffer[:BLOCK_BYTES]
        if buffer:
            await stage(bytes(buffer))
        await blob.commit_block_list(blocks)
        return size

    async def _append(self, name: str, data: bytes, most_bytes: int) -> bool:
        blob = self._client.get_blob_client(name)
        try:
            await blob.append_block(data, length=len(data), maxsize_condition=most_bytes)
        except HttpResponseError as error:
            if error.status_code == HTTPStatus.PRECONDITION_FAILED:
                return False
            raise
        return True

    async def _make_append_blob(
        self, name: str, metadata: dict[str, str] | None = None
    ) -> str | None:
        """Its etag; None when there is one already."""
        blob = self._client.get_blob_client(name)
        for make_container in (True, False):
            try:
                made = await blob.create_append_blob(
                    metadata=metadata, match_condition=MatchConditions.IfMissing
                )
                return str(made["etag"])
            except ResourceExistsError:  # another writer made it
                return None
            except ResourceNotFoundError:  # the container, since a blob needs no parent
                if not make_container:
                    raise
                await self._make()
        return None

    async def _write(
        self,
        name: str,
        data: bytes,
        content_type: str,
        metadata: dict[str, str] | None,
        *,
        overwrite: bool,
    ) -> None:
        async with self._errors():
            try:
                await self._upload(name, data, content_type, metadata, overwrite=overwrite)
            except ResourceNotFoundError:  # the container, since a blob needs no parent
                await self._make()
                await self._upload(name, data, content_type, metadata, overwrite=overwrite)

    async def _upload(
        self,
        name: str,
        data: bytes,
        content_type: str,
        metadata: dict[str, str] | None,
        *,
        overwrite: bool,
    ) -> None:
        from azure.storage.blob import ContentSettings

        await self._client.upload_blob(
            name,
            data,
            length=len(data),
            overwrite=overwrite,
            metadata=metadata,
            content_settings=ContentSettings(content_type=content_type),
        )

    async def _make(self) -> None:
        with suppress(ResourceExistsError):
            await self._client.create_container()

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        try:
            yield
        except ResourceExistsError:
            raise
        except AzureError as error:
            _log.warning("storage: %s on container %s", type(error).__name__, self._name)
            raise DependencyUnavailable(
                "Storage cannot be reached now. Nothing was lost: try again in a few seconds."
            ) from error


def _body(data: bytes) -> bytes | BytesIO:
    """A large one is written in pieces, with others of the event loop in between."""
    return data if len(data) < LARGE_BYTES else BytesIO(data)
