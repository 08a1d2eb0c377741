"""local.settings.json: the app settings of a local run, as Core Tools reads them."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from devhost.functions_host.json_config import SettingsError, read_section

DEFAULT_PORT = 7071


@dataclass(frozen=True, slots=True)
class LocalSettings:
    values: Mapping[str, str]
    port: int = DEFAULT_PORT
    """`Host.LocalHttpPort`."""


def read_local_settings(path: Path) -> LocalSettings:
    """The settings in the file; none if it does not exist. Raises SettingsError."""
    root = read_section(path)
    if root.flag("IsEncrypted", default=False):
        raise SettingsError(f"{path}: encrypted settings: run `func settings decrypt` first")
    values = root.section("Values")
    return LocalSettings(
        values={name: values.text(name, "") for name in values.values},
        port=root.section("Host").integer("LocalHttpPort", DEFAULT_PORT, minimum=0),
    )


def apply_settings(settings: LocalSettings, environ: MutableMapping[str, str]) -> None:
    """Make the settings visible to the app. What the environment already holds wins."""
    for name, value in settings.values.items():
        environ.setdefault(name, value)


def whole_number(environ: Mapping[str, str], name: str, default: int) -> int:
    """A setting that is a whole number of at least 1. Raises SettingsError."""
    text = environ.get(name)
    if text is None:
        return default
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise SettingsError(f"{name}: expected a whole number, at least 1, got {text!r}")
    return value
