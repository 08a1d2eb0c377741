"""The OpenAI API's bodies, as far as this app reads or writes them itself.

What is not named here passes through as it is: https://platform.openai.com/docs/api-reference.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from contracts.calls import JsonObject
from contracts.errors import SluiceError
from contracts.problems import Problem


class _Request(BaseModel):
    model_config = ConfigDict(extra="allow")

    model: str = Field(
        min_length=1,
        max_length=256,
        description="A model of this service (`GET /v1/models`); `model@version` pins a version.",
    )
    stream: bool | None = None
    background: bool | None = Field(
        default=None, description="Answer 202 with a job at once, instead of the model's answer."
    )

    def payload(self) -> JsonObject:
        """The body as it came, without what this app has taken out of it."""
        return self.model_dump(exclude_unset=True, exclude={"model", "stream", "background"})


class ChatCompletionRequest(_Request):
    """A chat completions body; further fields pass through."""

    messages: list[JsonObject] = Field(min_length=1)


class EmbeddingsRequest(_Request):
    """An embeddings body; further fields pass through."""

    input: JsonValue


class ResponsesRequest(_Request):
    """A responses body; further fields pass through."""

    input: JsonValue


class ModelObject(BaseModel):
    """A model, as `GET /v1/models` lists it."""

    model_config = ConfigDict(extra="forbid")

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="Unix time; the service does not know it, and says 0.")
    owned_by: str


class ModelObjectList(BaseModel):
    """All models."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["list"] = "list"
    data: list[ModelObject]


class ErrorDetails(BaseModel):
    """What went wrong, in the words of the OpenAI API."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """An OpenAI error object."""

    error: ErrorDetails


def error_body(error: SluiceError) -> ErrorBody:
    """The error object; its `param` names the first field that is wrong."""
    return problem_body(error.problem())


def problem_body(problem: Problem) -> ErrorBody:
    """As `error_body`, of an error that was kept."""
    return ErrorBody(
        error=ErrorDetails(
            message=problem.detail,
            type=_type(problem.status),
            param=problem.errors[0].field if problem.errors else None,
            code=problem.code,
        )
    )


def _type(status: int) -> str:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "rate_limit_error"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "server_error"
    return "invalid_request_error"
