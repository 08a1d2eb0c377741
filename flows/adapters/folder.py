"""The files of a flow's folder, read so that what is wrong with them is told by file and line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from contracts.calls import JsonObject
from endpoints.marked_yaml import FieldPath, MarkedYaml, read


class BrokenFolder(Exception):
    """A folder that is not a flow; the text says why, naming file and line."""


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A YAML file of a folder, already parsed."""

    name: str
    document: MarkedYaml

    def broken(self, what: str, *path: str | int) -> BrokenFolder:
        """The error that says `what` about the field at `path`."""
        return BrokenFolder(self._said(what, path))

    def parse[M: BaseModel](self, model: type[M]) -> M:
        """The file as `model`. Raises BrokenFolder with everything that is not as expected."""
        try:
            return model.model_validate(self.document.value)
        except ValidationError as error:
            said = (
                self._said(f"expected {_expected(details['type'], details['msg'])}", details["loc"])
                for details in error.errors(include_input=False, include_url=False)
            )
            raise BrokenFolder("; ".join(said)) from None

    def _said(self, what: str, path: FieldPath) -> str:
        line = self.document.line(path)
        place = self.name if line is None else f"{self.name}:{line}"
        field = ".".join(map(str, path))
        return f"{place}: {field}: {what}" if field else f"{place}: {what}"


def read_yaml(folder: Path, name: str) -> YamlFile:
    """Read a YAML file whose top is a mapping. Raises BrokenFolder."""
    file = YamlFile(name, read(read_text(folder, name), environ=None))
    if findings := file.document.findings:
        said = (
            f"{name}:{finding.line}: {'.'.join(map(str, finding.path))} expected {finding.expected}"
            for finding in findings
        )
        raise BrokenFolder("; ".join(said).replace(":  expected", ": expected"))
    if not isinstance(file.document.value, dict):
        raise file.broken("expected fields, `name: value`, one a line")
    return file


def read_text(folder: Path, name: str) -> str:
    """A file's text. Raises BrokenFolder when it cannot be read, or lies outside the folder."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise BrokenFolder(f"{name}: expected a file of the flow's own folder")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenFolder(
            f"{name}: expected a readable UTF-8 file ({type(error).__name__})"
        ) from None


def object_schema(properties: dict[str, JsonObject], required: list[str]) -> JsonObject:
    """The JSON Schema of an object with these fields and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _expected(kind: str, message: str) -> str:
    match kind:
        case "missing":
            return "this field: it is required"
        case "extra_forbidden":
            return "no such field"
    return message.removeprefix("Input should be ").removeprefix("Value error, expected ")
