"""What an HTTP operation promises: the source of openapi.json.

Each handler of a door carries the Operation that describes it; `openapi` collects them, and
a test holds them against the routes that the app serves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

ANY_JSON = "any"
"""In place of a model: a response of any JSON value."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query, path or header parameter."""

    name: str
    place: str
    description: str
    schema: dict[str, Any]
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `responses` are the successes; `problems` the error statuses."""

    method: str
    path: str
    summary: str
    responses: dict[HTTPStatus, type[BaseModel] | str]
    problems: tuple[HTTPStatus, ...] = ()
    body: type[BaseModel] | None = None
    parameters: tuple[Parameter, ...] = ()
    open_to_all: bool = False
    """No key needed."""
    response_headers: dict[str, str] = field(default_factory=dict)


OPERATIONS: list[Operation] = []
"""Every operation of the app, once its doors are imported."""


def operation[F: Callable[..., Any]](described: Operation) -> Callable[[F], F]:
    """Record what the decorated handler promises."""

    def record(handler: F) -> F:
        OPERATIONS.append(described)
        return handler

    return record
