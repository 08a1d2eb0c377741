"""What the fields of a behaviour have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

STRICT = ConfigDict(extra="forbid", revalidate_instances="always", allow_inf_nan=False)
"""Of the dataclasses that the control door reads; those made in Python are checked there too."""

type Milliseconds = Annotated[float, Field(ge=0, le=3_600_000)]
