"""Queues and the messages in them, as operators see them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

type Property = str | int | float | bool | None


class Waiting(BaseModel):
    """What waits in a queue, as far as it was looked at."""

    model_config = ConfigDict(extra="forbid")

    messages: int = Field(description="How many there are; at least so many, with `more`.")
    more: bool = Field(description="There are more than were counted.")
    oldest_enqueued_at: datetime | None = Field(description="Null in an empty queue.")


class QueueStanding(BaseModel):
    """One queue and its dead letters."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["queue"] = "queue"
    name: str
    waiting: Waiting | None = Field(description="Null where the queue cannot be looked at.")
    dead_letters: Waiting | None = Field(description="As `waiting`, of its dead letters.")
    problem: str | None = Field(default=None, description="Why it cannot be looked at.")


class QueueList(BaseModel):
    """Every queue that the app itself works with."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["list"] = "list"
    data: list[QueueStanding]


class QueuedMessage(BaseModel):
    """A message that waits, and goes on waiting when it is shown."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["message"] = "message"
    sequence: int = Field(description="Its number in the queue, or among the dead letters.")
    message_id: str | None
    enqueued_at: datetime | None
    state: Literal["active", "deferred", "scheduled"]
    delivery_count: int
    content_type: str | None
    correlation_id: str | None
    reply_to: str | None
    dead_letter_reason: str | None
    dead_letter_description: str | None
    properties: dict[str, Property] = Field(
        description="Application properties; of `authorization` not the value."
    )
    body_bytes: int
    body: str | None = Field(
        default=None, description="Its beginning, when `body=true` asks for it: text."
    )
    body_base64: str | None = Field(
        default=None, description="The same, where it is no text in UTF-8."
    )
    body_cut: bool = Field(default=False, description="The body is longer than what is shown.")


class MessagePage(BaseModel):
    """Messages in the order of their numbers."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["list"] = "list"
    data: list[QueuedMessage]
    has_more: bool
    next_from: int | None = Field(
        default=None, description="Pass as `from` for the next page, while `has_more`."
    )


class Resubmission(BaseModel):
    """What became of a message that was sent on its way once more."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["resubmission"] = "resubmission"
    queue: str
    sequence: int
    started: Literal["job", "batch"] | None = Field(
        description="What it started, or had started before; null for a reply."
    )
    id: str | None = Field(description="Of the job or batch.")
    tenant: str | None = Field(description="Whose job or batch it is.")
    sent_to: str | None = Field(description="The queue that a reply was sent to again.")


class DeletedMessage(BaseModel):
    """A message that is no more."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["message.deleted"] = "message.deleted"
    queue: str
    sequence: int
    deleted: Literal[True] = True


class PurgeRequest(BaseModel):
    """The body of a purge."""

    model_config = ConfigDict(extra="forbid")

    confirm: str = Field(description="The queue's name once more: nothing is kept of what goes.")


class Purged(BaseModel):
    """What one call of a purge did."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["purge"] = "purge"
    queue: str
    purged: int = Field(description="How many messages were deleted.")
    more: bool = Field(description="There are more: ask again.")
