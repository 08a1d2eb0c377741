"""The container into which others put the inputs of batches, and out of which this app only reads.

A blob is named by its URL. That is never requested: it must be a URL of this very container, and
what is read is the blob of that name in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import SplitResult, quote, unquote, urlsplit

from contracts.batches import InputBlob
from contracts.errors import InvalidRequest, NotFound
from contracts.problems import FieldProblem
from stores.blobs import Container, Described

_PORTS = {"http": 80, "https": 443}


class InputBlobs:
    """Methods raise DependencyUnavailable when storage cannot be used."""

    def __init__(self, container: Container) -> None:
        self._blobs = container

    @property
    def container(self) -> str:
        """Its name."""
        return self._blobs.name

    def url_of(self, name: str) -> str:
        """Of the blob with this name."""
        return f"{self._blobs.url}/{quote(name)}"

    def name_of(self, url: str) -> str:
        """Of the blob with this URL. Raises InvalidRequest when it is not one of the container."""
        ours, asked = urlsplit(self._blobs.url), _split(url)
        inside = f"{ours.path.rstrip('/')}/"
        if asked is None or _origin(asked) != _origin(ours) or not asked.path.startswith(inside):
            raise self._wrong()
        name = unquote(asked.path.removeprefix(inside))
        # A step upwards would lead out again, if any server on the way were to take it.
        if asked.query or asked.fragment or not _plain(name):
            raise self._wrong()
        return name

    async def look(self, name: str, *, folder: str | None = None) -> Described:
        """Raises NotFound; for a blob outside of the folder too, whether there is one or not."""
        inside = folder is None or name.startswith(f"{folder}/")
        found = await self._blobs.look(name) if inside else None
        if found is None:
            raise NotFound(f"There is no blob {name[:128]!r} in the container {self.container}.")
        return found

    def read(self, blob: InputBlob) -> AsyncIterator[bytes]:
        """The content, piece by piece. Raises Conflict when the blob is not there as it was."""
        return self._blobs.read_as(blob.name, blob.etag)

    def _wrong(self) -> InvalidRequest:
        expected = f"the URL of a blob of {self._blobs.url}, without a query"
        return InvalidRequest(
            f"`batch.input_blob` is not as expected: {expected}.",
            [FieldProblem(field="batch.input_blob", expected=expected)],
        )


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _origin(parts)
    except ValueError:
        return None
    return parts


def _origin(url: SplitResult) -> tuple[str, str | None, int | None, str | None, str | None]:
    """Raises ValueError for a port that is none."""
    port = url.port or _PORTS.get(url.scheme)
    return url.scheme, url.hostname, port, url.username, url.password


def _plain(name: str) -> bool:
    steps = name.replace("\\", "/").split("/")
    return bool(name) and len(name) <= 1024 and not {"", ".", ".."} & set(steps)
