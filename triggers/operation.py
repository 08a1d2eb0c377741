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

from contracts.identity import Role

ANY_JSON = "any"
"""In place of a model: a response of any JSON value."""
ANY_BYTES = "bytes"
"""In place of a model: a response that is no JSON."""
CSV_MEDIA_TYPE = "text/csv"


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
    """One method of one path.

    `responses` are the successes; `problems` the error statuses, as problem details unless there
    is an `error_model`.
    """

    method: str
    path: str
    role: Role | None
    """What the door takes; None: open to all."""
    summary: str
    responses: dict[HTTPStatus, type[BaseModel] | str]
    problems: tuple[HTTPStatus, ...] = ()
    error_model: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    form: dict[str, dict[str, Any]] | None = None
    """The fields of a multipart/form-data body, all required, each with its schema."""
    parameters: tuple[Parameter, ...] = ()
    events: bool = False
    """A 200 may also come as server-sent events, when the body asks for a stream."""
    csv: bool = False
    """A 200 may also come as CSV."""
    response_headers: dict[str, str] = field(default_factory=dict)


OPERATIONS: list[Operation] = []
"""Every operation of the app, once its doors are imported."""


def operation[F: Callable[..., Any]](described: Operation) -> Callable[[F], F]:
    """Record what the decorated handler promises."""

    def record(handler: F) -> F:
        OPERATIONS.append(described)
        return handler

    return record
