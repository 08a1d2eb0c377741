"""What an app's blob triggers ask for: which blobs of which account, given to the function how.

Source: "Azure Blob storage trigger for Azure Functions" (blob name patterns, connections). Whatever
the trigger's `source` says, blobs are looked for here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from devhost.functions_host.app_loader import AppError, AppFunction

BLOB_TRIGGER = "blobTrigger"

_DEFAULT_CONNECTION = "AzureWebJobsStorage"
_SETTING = re.compile(r"%([^%]+)%")
_VALUE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class BlobTrigger:
    """The blobs of one container whose names match."""

    function: AppFunction
    container: str
    prefix: str
    """What every such name begins with."""
    name: re.Pattern[str]
    connection_name: str
    connection: str = field(repr=False)
    """Connection string of the account."""

    def value(self, blob: str) -> object:
        """What the function is given, made by the same converter as in the worker."""
        from azurefunctions.extensions.base import Datum, get_binding_registry

        converter = get_binding_registry().get(BLOB_TRIGGER)  # type: ignore[no-untyped-call]
        value: object = converter.decode(
            Datum(_Reference(self.connection_name, self.container, blob), "model_binding_data"),
            trigger_metadata={},
            pytype=_sdk_type(self.function),
        )
        return value


class _Reference:
    """A blob as the host refers the worker to it, where the function wants no content."""

    version = "1.0"
    source = "AzureStorageBlobs"
    content_type = "application/json"

    def __init__(self, connection: str, container: str, blob: str) -> None:
        reference = {"Connection": connection, "ContainerName": container, "BlobName": blob}
        self.content = json.dumps(reference)


def why_unserved(function: AppFunction, environ: Mapping[str, str]) -> str | None:
    """Why the function cannot be served here; None if it can."""
    name = _connection_name(function)
    if not environ.get(name):
        return f"setting {name} is not set"
    if _sdk_type(function) is None:
        return f"its parameter {function.trigger.name} is of no SDK type: it wants the content"
    return None


def triggers_of(functions: Iterable[AppFunction], environ: Mapping[str, str]) -> list[BlobTrigger]:
    """The triggers of functions that can be served. Raises AppError for what is not known here."""
    return [_trigger(function, environ) for function in functions]


def _trigger(function: AppFunction, environ: Mapping[str, str]) -> BlobTrigger:
    if (reason := why_unserved(function, environ)) is not None:
        raise AppError(f"function {function.name}: {reason}")
    path = _resolved(function.trigger.text("path") or "", function, environ)
    container, _, pattern = path.partition("/")
    if not container or not pattern or "{" in container:
        raise AppError(f"function {function.name}: expected a path CONTAINER/PATTERN, found {path}")
    return BlobTrigger(
        function,
        container,
        pattern.partition("{")[0],
        _compiled(pattern),
        _connection_name(function),
        environ[_connection_name(function)],
    )


def _compiled(pattern: str) -> re.Pattern[str]:
    """`{name}` stands for any text, also over several folders."""
    parts = _VALUE.split(pattern)
    named = [re.escape(part) if n % 2 == 0 else f"(?P<{part}>.+)" for n, part in enumerate(parts)]
    return re.compile("".join(named), re.DOTALL)


def _resolved(text: str, function: AppFunction, environ: Mapping[str, str]) -> str:
    def setting(found: re.Match[str]) -> str:
        if not environ.get(found[1]):
            raise AppError(f"function {function.name}: there is no app setting {found[1]}")
        return environ[found[1]]

    return _SETTING.sub(setting, text)


def _connection_name(function: AppFunction) -> str:
    return function.trigger.text("connection") or _DEFAULT_CONNECTION


def _sdk_type(function: AppFunction) -> type[object] | None:
    """What the function takes for a blob; None when it wants the content itself."""
    # Imported here: an app that has no such function may have none of the worker's extensions.
    from azurefunctions.extensions.base import SdkType

    hint: Any = get_type_hints(function.call).get(function.trigger.name)
    return hint if isinstance(hint, type) and issubclass(hint, SdkType) else None
