"""A flow's connections. The name of a connection is the name of a model in deployments.yaml."""

from __future__ import annotations

from collections.abc import Iterable

from flows.adapters.folder import YamlFile

type Connections = dict[str, str]
"""Type by name, for example `{"chat": "OpenAIConnection"}`."""

SUPPORTED = (
    "OpenAIConnection",
    "AzureOpenAIConnection",
    "ServerlessConnection",
    "CustomConnection",
)


def connection_type(classes: Iterable[str]) -> str | None:
    """The connection class in an annotation, the first supported one when there are several.

    None when there is none; a class that is not supported comes back as it is.
    """
    found = [name for name in sorted(classes) if name.endswith("Connection")]
    supported = [name for name in SUPPORTED if name in found]
    return next(iter([*supported, *found]), None)


def add_connection(
    connections: Connections, file: YamlFile, name: object, kind: str, *path: str | int
) -> str:
    """Note that the field at `path` names a connection of this type; the name.

    Raises BrokenFolder.
    """
    if not isinstance(name, str) or not name or name.startswith("${"):
        raise file.broken(f"expected the name of a model, for {kind}", *path)
    if kind not in SUPPORTED:
        supported = ", ".join(SUPPORTED)
        raise file.broken(f"expected a connection of a model ({supported}), not {kind}", *path)
    if connections.setdefault(name, kind) != kind:
        raise file.broken(
            f"expected one type for {name!r}, which is also a {connections[name]}", *path
        )
    return name
