"""Files and batches, as the OpenAI API has them, and what passes between a batch's steps.

https://platform.openai.com/docs/api-reference/batch and .../files.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from contracts.calls import JsonObject
from contracts.jobs import ReplyAddress

Endpoint = Literal["/v1/chat/completions", "/v1/embeddings", "/v1/responses", "/v1/jobs"]
"""`/v1/jobs` is this service's own: each line is a job, for any flow."""

JOBS_ENDPOINT: Endpoint = "/v1/jobs"

BatchStatus = Literal[
    "validating",
    "failed",
    "in_progress",
    "finalizing",
    "completed",
    "expired",
    "cancelling",
    "cancelled",
]

Purpose = Literal["batch", "batch_output"]

type _Key = Annotated[str, StringConstraints(min_length=1, max_length=64)]
type _Value = Annotated[str, StringConstraints(max_length=512)]

MOST_ERRORS = 100
"""Validation errors that a batch shows."""


class FileObject(BaseModel):
    """A file that was uploaded, or that a batch has written."""

    model_config = ConfigDict(extra="forbid")

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int = Field(description="Unix time, in seconds.")
    filename: str
    purpose: Purpose
    status: Literal["processed"] = "processed"
    expires_at: int | None = Field(
        default=None, description="Unix time at which it is deleted, where that is known."
    )


class FileList(BaseModel):
    """A page of files, newest first."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["list"] = "list"
    data: list[FileObject]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False


class FileDeleted(BaseModel):
    """That a file is gone."""

    model_config = ConfigDict(extra="forbid")

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


class BatchRequest(BaseModel):
    """What `POST /v1/batches` takes."""

    # OpenAI adds fields from time to time, and its SDKs send them: what is not known is left out.
    model_config = ConfigDict(extra="ignore")

    input_file_id: str = Field(min_length=1, max_length=128)
    endpoint: Endpoint
    completion_window: Literal["24h"]
    metadata: dict[_Key, _Value] | None = Field(default=None, max_length=16)
    max_failed_share: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="The batch is stopped as failed once so large a share of its lines has failed,"
        " and 100 at least have ended. Not a field of the OpenAI API.",
    )


class HandedBatch(BaseModel):
    """What a Service Bus message has as its `batch`."""

    model_config = ConfigDict(extra="forbid")

    input_blob: str | None = Field(
        default=None,
        min_length=1,
        max_length=10_000,
        description="URL of a blob of the container for inputs.",
    )
    input_file_id: str | None = Field(default=None, min_length=1, max_length=128)
    endpoint: Endpoint | None = Field(
        default=None, description="By default the `url` of the first line."
    )
    completion_window: Literal["24h"] = "24h"
    metadata: dict[_Key, _Value] | None = Field(default=None, max_length=16)
    max_failed_share: float | None = Field(default=None, gt=0, le=1)
    reply_to: str | None = Field(
        default=None,
        min_length=1,
        max_length=260,
        description="Queue on which its end is announced.",
    )

    @model_validator(mode="after")
    def _one_input(self) -> HandedBatch:
        if (self.input_blob is None) == (self.input_file_id is None):
            raise ValueError("either input_blob or input_file_id")
        return self


class BatchMessage(BaseModel):
    """A Service Bus message that asks for a batch."""

    model_config = ConfigDict(extra="forbid")

    batch: HandedBatch


class LineProblem(BaseModel):
    """What is wrong with a line of the input file, or with the file."""

    model_config = ConfigDict(extra="forbid")

    code: str
    line: int | None = None
    message: str
    param: str | None = None


class LineProblems(BaseModel):
    """A list of problems, as the OpenAI API has it."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["list"] = "list"
    data: list[LineProblem]


class RequestCounts(BaseModel):
    """Lines of the batch."""

    model_config = ConfigDict(extra="forbid")

    total: int = 0
    completed: int = 0
    failed: int = 0

    def __add__(self, other: RequestCounts) -> RequestCounts:
        return RequestCounts(
            total=self.total + other.total,
            completed=self.completed + other.completed,
            failed=self.failed + other.failed,
        )


class InputTokensDetails(BaseModel):
    """Input tokens, by kind."""

    model_config = ConfigDict(extra="forbid")

    cached_tokens: int = 0


class OutputTokensDetails(BaseModel):
    """Output tokens, by kind."""

    model_config = ConfigDict(extra="forbid")

    reasoning_tokens: int = 0


class TokenCounts(BaseModel):
    """Tokens of answered lines, as they are shown."""

    model_config = ConfigDict(extra="forbid")

    input_tokens: int = 0
    input_tokens_details: InputTokensDetails = InputTokensDetails()
    output_tokens: int = 0
    output_tokens_details: OutputTokensDetails = OutputTokensDetails()
    total_tokens: int = 0


@dataclass(slots=True)
class Tokens:
    """What answered lines used, as the models reported it: counted as lines end."""

    input: int = 0
    cached: int = 0
    """Of the input."""
    output: int = 0
    reasoning: int = 0
    """Of the output."""

    def add(self, other: Tokens) -> None:
        """Count another's in."""
        self.input += other.input
        self.cached += other.cached
        self.output += other.output
        self.reasoning += other.reasoning

    def counts(self) -> TokenCounts:
        """As they are shown."""
        return TokenCounts(
            input_tokens=self.input,
            input_tokens_details=InputTokensDetails(cached_tokens=self.cached),
            output_tokens=self.output,
            output_tokens_details=OutputTokensDetails(reasoning_tokens=self.reasoning),
            total_tokens=self.input + self.output,
        )


class BatchObject(BaseModel):
    """A batch."""

    model_config = ConfigDict(extra="forbid")

    id: str
    object: Literal["batch"] = "batch"
    endpoint: Endpoint
    model: str | None = None
    errors: LineProblems | None = None
    input_file_id: str
    completion_window: Literal["24h"] = "24h"
    status: BatchStatus
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: int
    in_progress_at: int | None = None
    expires_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    request_counts: RequestCounts = RequestCounts()
    usage: TokenCounts | None = None
    metadata: dict[str, str] | None = None


class BatchList(BaseModel):
    """A page of batches, newest first."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["list"] = "list"
    data: list[BatchObject]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False


# A line.


class BatchLine(BaseModel):
    """A line of an input file."""

    model_config = ConfigDict(extra="forbid")

    custom_id: str = Field(min_length=1, max_length=512)
    method: Literal["POST"]
    url: str
    body: JsonObject


# What passes between the steps of a batch. History carries these: they stay small.


class InputBlob(BaseModel):
    """A blob of the container for inputs, as it was when the batch was accepted."""

    model_config = ConfigDict(extra="forbid")

    name: str
    etag: str


class AcceptedBatch(BaseModel):
    """A batch as it was accepted, kept in storage."""

    model_config = ConfigDict(extra="forbid")

    id: str
    tenant: str
    request: BatchRequest
    created_at: datetime
    expires_at: datetime
    input_blob: InputBlob | None = None
    """What becomes the input file, before anything else is done."""
    reply: ReplyAddress | None = None
    """Where its end is announced."""
    models: frozenset[str] | None = None
    """Those that its lines may name; None: all of them."""
    flows: frozenset[str] | None = None
    """As `models`."""


class BatchTicket(BaseModel):
    """Which batch a step works on."""

    model_config = ConfigDict(extra="forbid")

    id: str
    tenant: str
    expires_at: datetime
    announce: bool = False
    """Whether its end is announced on a queue."""
    trace: dict[str, str] = {}
    """W3C trace context of the door, which the batch's steps go on with."""


class LaneTicket(BaseModel):
    """One of the lanes that carry a batch's slices: each takes every n-th, one after the other."""

    model_config = ConfigDict(extra="forbid")

    batch: BatchTicket
    index: int
    """Of the slice to run next."""
    lanes: int
    slices: int
    round: int = 0
    """How often the slice was run again after a back-off."""


class BatchTimes(BaseModel):
    """When a batch came how far."""

    model_config = ConfigDict(extra="forbid")

    in_progress_at: datetime | None = None
    finalizing_at: datetime | None = None


class CommitTicket(BaseModel):
    """A batch whose slices have ended, or whose input is wrong."""

    model_config = ConfigDict(extra="forbid")

    batch: BatchTicket
    times: BatchTimes
    now: datetime


class Slice(BaseModel):
    """A run of consecutive lines: where it stands in the input file."""

    model_config = ConfigDict(extra="forbid")

    offset: int
    length: int
    first_line: int
    """1 for the file's first."""
    lines: int


class BatchPlan(BaseModel):
    """The slices of a batch, kept in storage."""

    model_config = ConfigDict(extra="forbid")

    model: str | None
    slices: list[Slice]

    @property
    def lines(self) -> int:
        return sum(each.lines for each in self.slices)


class Validation(BaseModel):
    """What validating an input file came to."""

    model_config = ConfigDict(extra="forbid")

    slices: int = 0
    lines: int = 0
    problems: int = 0
    """How many were found; they are kept in storage. Any fails the batch."""


class SliceTicket(BaseModel):
    """Which slice to run."""

    model_config = ConfigDict(extra="forbid")

    batch: BatchTicket
    index: int


class SliceOutcome(BaseModel):
    """What running a slice came to."""

    model_config = ConfigDict(extra="forbid")

    ended: int = 0
    """Lines that have ended in this run."""
    remaining: int = 0
    """Lines that are to be run again."""
    stopped: bool = False
    """The batch was stopped: nothing of it is to be run again."""
    resume_at: datetime | None = None
    """When to run it again, where that is known; else after a back-off."""
