"""JSON in which strings are Jinja templates.

A string that is one `{{ expression }}` gives the expression's own value: a number stays a number,
a list a list, and a field whose expression names something that is not there is left out. Any
other string gives text. Expressions run in Jinja's sandbox, and what they insert is never itself
read as a template or as code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import JsonValue

type _Render = Callable[[Mapping[str, JsonValue]], Any]


class BadTemplate(ValueError):
    """A string is not a template; `path` leads to it."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.path = path


class _Environment(ImmutableSandboxedEnvironment):
    def getattr(self, obj: Any, attribute: str) -> Any:
        """A field of the data before a method of dict: `input.items` is the input's field."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


_environment: Final = _Environment(undefined=StrictUndefined, keep_trailing_newline=True)


class Template:
    """A JSON value with templates in it, compiled."""

    def __init__(self, value: JsonValue) -> None:
        """Raises BadTemplate."""
        self._render = _compiled(value, ())

    def render(self, values: Mapping[str, JsonValue]) -> JsonValue:
        """The value with `values` filled in. Raises jinja2.TemplateError and what filters raise."""
        rendered = self._render(values)
        return None if isinstance(rendered, Undefined) else rendered


def _compiled(value: JsonValue, path: tuple[str | int, ...]) -> _Render:
    match value:
        case dict():
            fields = {name: _compiled(item, (*path, name)) for name, item in value.items()}
            return lambda values: {
                name: rendered
                for name, render in fields.items()
                if not isinstance(rendered := render(values), Undefined)
            }
        case list():
            items = [_compiled(item, (*path, index)) for index, item in enumerate(value)]
            return lambda values: [
                rendered
                for render in items
                if not isinstance(rendered := render(values), Undefined)
            ]
        case str():
            try:
                return _compiled_text(value)
            except TemplateSyntaxError as error:
                raise BadTemplate(path, error.message or "not a template") from None
    return lambda _: value


def _compiled_text(text: str) -> _Render:
    stripped = text.strip()
    if _is_one_expression(stripped):
        evaluate = _environment.compile_expression(stripped[2:-2], undefined_to_none=False)
        return lambda values: _listed(evaluate(values))
    if "{" not in text:
        return lambda _: text
    template = _environment.from_string(text)
    return template.render


def _is_one_expression(text: str) -> bool:
    match _environment.parse(text).body:
        case [nodes.Output(nodes=[only])]:
            return text.startswith("{{") and not isinstance(only, nodes.TemplateData)
    return False


def _listed(value: Any) -> Any:
    """Filters such as `map` give iterators; JSON has lists."""
    return list(value) if isinstance(value, Iterator) else value
