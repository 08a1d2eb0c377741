"""What `/v1/usage` answers: who used what, and what it cost."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Grouping(StrEnum):
    """What usage may be broken down by."""

    TENANT = "tenant"
    MODEL = "model"
    DEPLOYMENT = "deployment"
    VERSION = "version"
    FLOW = "flow"
    DAY = "day"


class UsageRow(BaseModel):
    """The usage of one group. Of what it is not grouped by, it says null."""

    model_config = ConfigDict(extra="forbid")

    tenant: Annotated[str | None, Field(description="Null also in a row of idle time.")] = None
    model: str | None = None
    deployment: str | None = None
    version: str | None = None
    flow: Annotated[
        str | None, Field(description="Null also for calls that were made without a flow.")
    ] = None
    day: Annotated[date | None, Field(description="On which a call ended, in UTC.")] = None
    idle: Annotated[
        bool, Field(description="Hours of dedicated deployments that no tenant's calls filled.")
    ] = False
    requests: Annotated[
        int, Field(description="HTTP requests to deployments, whatever came of them.")
    ] = 0
    outcomes: Annotated[dict[str, int], Field(description="The same, by outcome.")] = Field(
        default_factory=dict
    )
    mirrored: Annotated[int, Field(description="Of the requests: to shadows, never billed.")] = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: Annotated[float, Field(description="Of the requests, from start to end.")] = 0.0
    cost: Annotated[Decimal, Field(description="Exact, as text.")] = Decimal(0)
    currency: Annotated[
        str | None, Field(description="ISO 4217; null where no deployment has a price.")
    ] = None
    estimated_requests: Annotated[
        int, Field(description="Requests whose use no deployment has told.")
    ] = 0
    estimated_cost: Annotated[Decimal, Field(description="Of the cost: what those make.")] = (
        Decimal(0)
    )
    estimated_share: Annotated[
        float, Field(description="Of the requests: those that are estimated.")
    ] = 0.0


class UsageReport(BaseModel):
    """Usage between two days, by groups; the rows sum up to all there is."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, serialize_by_alias=True)

    since: Annotated[date, Field(alias="from", description="The first day (UTC).")]
    until: Annotated[date, Field(alias="to", description="The first day that is left out.")]
    group_by: list[Grouping]
    data: list[UsageRow]
