"""How a deployment says when to come back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, with_config

from devhost.inference.simulated.fields import STRICT


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class RetryAfter:
    seconds: Annotated[float, Field(ge=0, le=86_400)] = 1.0
    header: Literal["retry-after", "retry-after-ms", "x-ms-retry-after-ms"] = "retry-after"
    """RFC 9110's, or one of Azure OpenAI's in milliseconds."""

    def line(self, seconds: float) -> tuple[str, str]:
        """The header that says `seconds`, rounded up to the whole unit that it counts in."""
        unit = 1 if self.header == "retry-after" else 1_000
        return self.header, str(math.ceil(seconds * unit))
