"""API keys as operators ask for them and are shown them. See `contracts.keys` for their text."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from contracts.identity import Role

LONGEST_NOTE = 256
MOST_NAMES = 100
DEFAULT_GRACE_SECONDS = 24 * 3600
LONGEST_GRACE_SECONDS = 30 * 24 * 3600

Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Names = Annotated[frozenset[Name], Field(min_length=1, max_length=MOST_NAMES)]


class KeyRequest(BaseModel):
    """The body of `POST /v1/keys`."""

    model_config = ConfigDict(extra="forbid")

    tenant: Name = Field(description="A tenant of tenants.yaml: who pays for what the key does.")
    roles: Annotated[frozenset[Role], Field(min_length=1)] = Field(
        description="What the key may do; only what whoever asks for it may do too."
    )
    models: Names | None = Field(
        default=None, description="Of the tenant's models, those that the key may use; else all."
    )
    flows: Names | None = Field(default=None, description="As `models`, of the flows.")
    expires_at: AwareDatetime | None = Field(
        default=None, description="From then on it opens nothing. It does not expire without."
    )
    note: str | None = Field(
        default=None, max_length=LONGEST_NOTE, description="What the key is for; shown with it."
    )


class RotationRequest(BaseModel):
    """The body of `POST /v1/keys/{id}/rotate`."""

    model_config = ConfigDict(extra="forbid")

    grace_seconds: int = Field(
        default=DEFAULT_GRACE_SECONDS,
        ge=0,
        le=LONGEST_GRACE_SECONDS,
        description="How long the old key goes on beside the new one.",
    )
    expires_at: AwareDatetime | None = Field(
        default=None, description="Of the new key; else that of the old one."
    )


class KeyStatus(StrEnum):
    ACTIVE = "active"
    RETIRING = "retiring"
    """It still opens what it opened, until `revoked_at`."""
    REVOKED = "revoked"
    EXPIRED = "expired"


class KeyRecord(BaseModel):
    """An API key as the API shows it: never the key itself, nor its digest."""

    model_config = ConfigDict(extra="forbid")

    id: str
    object: Literal["api_key"] = "api_key"
    status: KeyStatus
    tenant: str
    roles: list[Role]
    models: list[str] | None
    flows: list[str] | None
    created_at: datetime
    created_by: str = Field(description="Who had it issued.")
    expires_at: datetime | None
    revoked_at: datetime | None
    replaced_by: str | None = Field(description="The id of the key issued in its place.")
    note: str | None


class IssuedKey(KeyRecord):
    """A key that was issued just now."""

    key: str = Field(description="The key itself. It is shown this once, and kept nowhere.")
    replaces: KeyRecord | None = Field(
        default=None, description="The key in whose place it was issued."
    )


class KeyList(BaseModel):
    """A page of keys, in the order of their ids."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["list"] = "list"
    data: list[KeyRecord]
    has_more: bool
    next_after: str | None = Field(
        default=None, description="Pass as `after` for the next page, while `has_more`."
    )
