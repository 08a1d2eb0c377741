"""Typed reading of JSON settings files: what is wrong is said by file, field and expectation."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

type Json = bool | int | float | str | list[Json] | dict[str, Json] | None


_TIMESPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):([0-5]?\d):([0-5]?\d)")


class SettingsError(Exception):
    """A settings file or setting is not as expected. The message names file, field and both."""


@dataclass(frozen=True, slots=True)
class Section:
    """One object in a settings file. Fields that nobody asks for are ignored."""

    file: str
    path: str
    values: Mapping[str, Json]

    def section(self, name: str) -> Section:
        """The object in field `name`; an empty one if it is missing."""
        value = self.values.get(name)
        if value is None:
            return Section(self.file, self._field(name), {})
        if not isinstance(value, dict):
            raise self.wrong(name, "an object", value)
        return Section(self.file, self._field(name), value)

    def text(self, name: str, default: str) -> str:
        value = self.values.get(name, default)
        if not isinstance(value, str):
            raise self.wrong(name, "a string", value)
        return value

    def integer(self, name: str, default: int, *, minimum: int) -> int:
        value = self.values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise self.wrong(name, f"a whole number, at least {minimum}", value)
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false", value)
        return value

    def timespan(self, name: str, default: timedelta) -> timedelta:
        """A length of time as .NET writes it: `[days.]hours:minutes:seconds`."""
        value = self.values.get(name)
        if value is None:
            return default
        found = _TIMESPAN.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise self.wrong(name, 'a time such as "00:05:00"', value)
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)

    def wrong(self, name: str, expected: str, value: Json) -> SettingsError:
        got = json.dumps(value)
        got = got if len(got) <= 60 else f"{got[:60]}…"
        return SettingsError(f"{self.file}: {self._field(name)}: expected {expected}, got {got}")

    def _field(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def read_section(path: Path) -> Section:
    """The file's one object; an empty one if there is no such file. Raises SettingsError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return Section(path.name, "", {})
    try:
        value: Json = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise SettingsError(f"{path}: expected one JSON object")
    return Section(path.name, "", value)
