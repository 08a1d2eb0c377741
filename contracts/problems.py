"""Problem details, as RFC 9457 defines them, with this API's two extensions."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

PROBLEM_MEDIA_TYPE = "application/problem+json"


class FieldProblem(BaseModel):
    """One field of a request that is not as expected."""

    model_config = ConfigDict(extra="forbid")

    field: str = Field(description="Path of the field, dotted: `input.text`.")
    expected: str = Field(description="What was expected there.")


class Problem(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(default="about:blank", description="URI of the problem type.")
    title: str = Field(description="The status's standard phrase.")
    status: int = Field(description="HTTP status code.")
    code: str = Field(description="Stable machine-readable code.")
    detail: str = Field(description="What went wrong and what to do about it.")
    instance: str | None = Field(default=None, description="Path of the resource concerned.")
    errors: list[FieldProblem] | None = Field(default=None, description="The fields at fault.")
