"""The database driver, Microsoft's mssql-python: as much of it as is used.

It is not among the app's requirements: requirements-synapse.txt says why. Its import is left to the
first request, since it loads native libraries.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol, cast

ACCESS_TOKEN = 1256
"""SQL_COPT_SS_ACCESS_TOKEN of msodbcsql.h: a connection attribute."""


class Cursor(Protocol):
    @property
    def description(self) -> Sequence[Sequence[Any]] | None: ...

    def execute(self, operation: str, *parameters: object) -> object: ...

    def fetchall(self) -> Sequence[Sequence[Any]]: ...


class Connection(Protocol):
    timeout: int
    """Seconds that a statement may take."""

    def cursor(self) -> Cursor: ...

    def close(self) -> None: ...


class Driver(Protocol):
    """PEP 249, with what mssql-python adds."""

    def connect(
        self,
        connection_str: str = "",
        autocommit: bool = False,
        attrs_before: dict[int, int | str | bytes] | None = None,
        timeout: int = 0,
        **keywords: str,
    ) -> Connection: ...


def load() -> Driver:
    """Raises ImportError where it is not installed."""
    return cast(Driver, import_module("mssql_python"))


def access_token(token: str) -> dict[int, int | str | bytes]:
    """The attribute that logs in by an Entra token: its UTF-16 bytes behind their count."""
    encoded = token.encode("utf-16-le")
    return {ACCESS_TOKEN: struct.pack("<I", len(encoded)) + encoded}
