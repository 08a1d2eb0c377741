"""How long a request is served: three distributions, each by its quantiles, in milliseconds.

On uvloop, timers have a resolution of one millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, Literal

from pydantic import Field, with_config

from devhost.inference.simulated.fields import STRICT, Milliseconds

_NORMAL = NormalDist()
_Z95 = _NORMAL.inv_cdf(0.95)


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Constant:
    ms: Milliseconds = 0
    kind: Literal["constant"] = "constant"

    def at(self, share: float) -> float:
        """The latency that this share of all requests stays below; `share` within 0 and 1."""
        return self.ms


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Uniform:
    low_ms: Milliseconds
    high_ms: Milliseconds
    kind: Literal["uniform"] = "uniform"

    def __post_init__(self) -> None:
        if self.low_ms > self.high_ms:
            raise ValueError("low_ms is above high_ms")

    def at(self, share: float) -> float:
        return self.low_ms + share * (self.high_ms - self.low_ms)


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Lognormal:
    """The usual shape of a busy service: a hump, and a long tail."""

    p50_ms: Milliseconds
    p95_ms: Milliseconds
    kind: Literal["lognormal"] = "lognormal"

    def __post_init__(self) -> None:
        if not 0 < self.p50_ms <= self.p95_ms:
            raise ValueError("p50_ms is not above 0, or above p95_ms")

    def at(self, share: float) -> float:
        """`share` is neither 0 nor 1: there the curve has no value."""
        tail: float = (self.p95_ms / self.p50_ms) ** (_NORMAL.inv_cdf(share) / _Z95)
        return self.p50_ms * tail


type Latency = Annotated[Constant | Uniform | Lognormal, Field(discriminator="kind")]
