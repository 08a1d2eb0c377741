"""YAML that remembers its lines, with `${NAME}` replaced from the environment if there is one.

The values are those of JSON: what YAML would make a date stays the text it is, so that
`api_version: 2024-10-21` needs no quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml
from pydantic import JsonValue

type FieldPath = tuple[str | int, ...]

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float"))


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as expected, and where."""

    line: int | None
    path: FieldPath
    expected: str


@dataclass(slots=True)
class MarkedYaml:
    """A YAML document as JSON values."""

    value: JsonValue = None
    lines: dict[FieldPath, int] = field(default_factory=dict)
    """The line, from 1, on which each field begins."""
    findings: list[Finding] = field(default_factory=list)
    """Syntax errors, repeated keys, placeholders without a value."""

    def line(self, path: FieldPath) -> int | None:
        """The line of a field; of the nearest part around it that is there, when it is missing."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path)


def read(text: str, environ: Mapping[str, str] | None) -> MarkedYaml:
    """Parse one document. Never raises: what is wrong is in `findings`.

    Without `environ`, `${NAME}` stays the text it is.
    """
    document = MarkedYaml()
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                document.value = _Reader(loader, document, environ).value(node, ())
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError) as error:
        document.findings.append(_syntax(error))
    return document


def _syntax(error: Exception) -> Finding:
    # str(error) would quote the line, and a line may hold a key.
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or "it cannot be parsed"
    return Finding(mark.line + 1 if mark else None, (), f"valid YAML ({problem})")


class _Reader:
    """Turns nodes into values, noting lines and findings on the way."""

    def __init__(
        self, loader: yaml.SafeLoader, document: MarkedYaml, environ: Mapping[str, str] | None
    ) -> None:
        self._loader = loader
        self._document = document
        self._environ = environ
        self._open: list[yaml.Node] = []

    def value(self, node: yaml.Node, path: FieldPath) -> JsonValue:
        self._document.lines.setdefault(path, node.start_mark.line + 1)
        if any(node is outer for outer in self._open):
            self._report(path, "no alias (*) to a part that contains it")
            return None
        self._open.append(node)
        try:
            return self._by_kind(node, path)
        finally:
            self._open.pop()

    def _by_kind(self, node: yaml.Node, path: FieldPath) -> JsonValue:
        match node:
            case yaml.MappingNode():
                return dict(self._entries(node, path))
            case yaml.SequenceNode():
                return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
            case yaml.ScalarNode() if node.tag in _PLAIN_TAGS:
                return self._plain(node, path)
        return self._filled(str(node.value), path)

    def _plain(self, node: yaml.ScalarNode, path: FieldPath) -> JsonValue:
        try:
            plain: JsonValue = self._loader.construct_object(node)
        except (ValueError, LookupError):  # an explicit tag that its text does not bear out
            self._report(path, f"a value of {node.tag}")
            return None
        return plain

    def _entries(self, node: yaml.MappingNode, path: FieldPath) -> Iterator[tuple[str, JsonValue]]:
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._report(path, "plain field names", key)
                continue
            name = str(key.value)
            here = (*path, name)
            if name in seen:
                line = self._document.lines[here]
                self._report(here, f"each name once; it is on line {line} too", key)
                continue
            seen.add(name)
            self._document.lines[here] = key.start_mark.line + 1
            yield name, self.value(value, here)

    def _filled(self, text: str, path: FieldPath) -> str:
        environ = self._environ
        if environ is None:
            return text

        def fill(match: re.Match[str]) -> str:
            name = match[1]
            if not _NAME.fullmatch(name) or not match[0].endswith("}"):
                self._report(path, "${NAME}, a name of letters, digits and _")
                return ""
            if not environ.get(name):
                self._report(path, f"the app setting {name} to be set")
            return environ.get(name, "")

        return _PLACEHOLDER.sub(fill, text)

    def _report(self, path: FieldPath, expected: str, node: yaml.Node | None = None) -> None:
        line = self._document.line(path) if node is None else node.start_mark.line + 1
        self._document.findings.append(Finding(line, path, expected))
