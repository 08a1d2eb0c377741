"""A container of blobs: the few operations the stores need, with this app's errors."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING

from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)

from contracts.errors import DependencyUnavailable, InvalidRequest
from contracts.problems import FieldProblem

if TYPE_CHECKING:  # half a second of imports, left to the first request
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.storage.blob.aio import BlobServiceClient, ContainerClient


_log = logging.getLogger("sluice.stores")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of names, and the token of the next one when there may be one."""

    names: list[str]
    token: str | None


@dataclass(frozen=True, slots=True)
class StorageAccount:
    """Where the account is: a connection string, or a URL reached with a managed identity."""

    connection_string: str | None = None
    blob_url: str | None = None

    def open(self) -> BlobServiceClient:
        """A client that retries nothing: waiting is the orchestrator's."""
        from azure.storage.blob.aio import BlobServiceClient

        if self.connection_string is not None:
            return BlobServiceClient.from_connection_string(
                self.connection_string, retry_total=0, logging_enable=False
            )
        assert self.blob_url is not None
        return BlobServiceClient(
            self.blob_url, credential=_managed_identity(), retry_total=0, logging_enable=False
        )


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

    @cached_property
    def _client(self) -> ContainerClient:
        return self._open_service().get_container_client(self._name)

    async def put(self, name: str, data: bytes, *, content_type: str = "application/json") -> None:
        """Write a blob, over what is there."""
        await self._write(name, data, content_type, overwrite=True)

    async def put_new(
        self, name: str, data: bytes, *, content_type: str = "application/json"
    ) -> bool:
        """Write a blob only when there is none of that name; False when there is one."""
        try:
            await self._write(name, data, content_type, overwrite=False)
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

    async def _write(self, name: str, data: bytes, content_type: str, *, overwrite: bool) -> None:
        async with self._errors():
            try:
                await self._upload(name, data, content_type, overwrite=overwrite)
            except ResourceNotFoundError:  # the container, since a blob needs no parent
                await self._make()
                await self._upload(name, data, content_type, overwrite=overwrite)

    async def _upload(self, name: str, data: bytes, content_type: str, *, overwrite: bool) -> None:
        from azure.storage.blob import ContentSettings

        await self._client.upload_blob(
            name,
            data,
            length=len(data),
            overwrite=overwrite,
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
