"""Mirrored calls, and what they say of the deployment under trial."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from pydantic import BaseModel, ConfigDict, Field

from contracts.deployments import Comparison


class ComparisonSummary(BaseModel):
    """Of the comparisons listed with it. Ratios are shadow to live; null where none can be had."""

    model_config = ConfigDict(extra="forbid")

    count: int
    shadow_failures: float | None = Field(
        default=None, ge=0, le=1, description="Share of the shadow's calls that were not answered."
    )
    latency_ratio: float | None = Field(
        default=None, description="Median of the ratios, where both answered."
    )
    similarity: float | None = Field(
        default=None, ge=0, le=1, description="Mean, of answers that both have."
    )
    token_ratio: float | None = Field(
        default=None, description="Of all output tokens, where both answered."
    )


class ComparisonList(BaseModel):
    """Newest first."""

    model_config = ConfigDict(extra="forbid")

    model: str
    summary: ComparisonSummary
    data: list[Comparison]


def summarized(comparisons: Sequence[Comparison]) -> ComparisonSummary:
    """What these comparisons come to."""
    if not comparisons:
        return ComparisonSummary(count=0)
    both = [each for each in comparisons if each.shadow.outcome == "answered"]
    ratios = [each.shadow.seconds / each.live.seconds for each in both if each.live.seconds > 0]
    similarities = [each.similarity for each in both if each.similarity is not None]
    tokens = sum(each.live.output_tokens for each in both)
    return ComparisonSummary(
        count=len(comparisons),
        shadow_failures=1 - len(both) / len(comparisons),
        latency_ratio=median(ratios) if ratios else None,
        similarity=fmean(similarities) if similarities else None,
        token_ratio=sum(each.shadow.output_tokens for each in both) / tokens if tokens else None,
    )
