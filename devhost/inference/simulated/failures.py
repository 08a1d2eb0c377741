"""The ways in which a deployment fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, with_config

from devhost.inference.simulated.fields import STRICT, Milliseconds
from devhost.inference.simulated.retry_after import RetryAfter


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The share of admitted requests that it strikes."""
    seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """After so long it heals by itself; None: it stays until the behaviour is changed."""
    after_ms: Milliseconds | None = None
    """How long after the request it shows, without a worker; None: as late as an answer would."""


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Status(_Common):
    """An answer other than 200: a gateway's at once, a timeout's (408, 504) after `after_ms`."""

    status: Annotated[int, Field(ge=400, le=599)]
    after_ms: Milliseconds | None = field(default=0, kw_only=True)
    retry_after: RetryAfter | None = None
    model_status: Annotated[int, Field(ge=100, le=599)] | None = None
    """What the container behind a 424 gave: ms-azureml-model-error-statuscode."""
    model_reason: Annotated[str, Field(pattern=r"^[!-~]([ -~]*[!-~])?$", max_length=128)] | None = (
        None
    )
    """ms-azureml-model-error-reason."""
    kind: Literal["status"] = "status"

    def __post_init__(self) -> None:
        if self.status != 424 and (self.model_status, self.model_reason) != (None, None):
            raise ValueError("only a 424 has a model_status and a model_reason")


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Hang(_Common):
    """No answer until it heals or the behaviour is set anew; then the answer comes, late."""

    after_ms: Milliseconds | None = field(default=0, kw_only=True)
    kind: Literal["hang"] = "hang"


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Drop(_Common):
    """The connection is reset."""

    when: Literal["before", "during"] = "before"
    """Before anything is answered, or after half of the answer (or less, if that is large)."""
    kind: Literal["drop"] = "drop"


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Garbage(_Common):
    """A 200 that is of no use."""

    content: Literal["truncated", "not_json", "wrong_json"] = "truncated"
    """Half of the JSON, a page of HTML, or JSON of another shape; always whole as HTTP."""
    kind: Literal["garbage"] = "garbage"


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class SlowBody(_Common):
    """The right answer, in drops."""

    piece_bytes: Annotated[int, Field(ge=1)] = 16
    pause_ms: Milliseconds = 50
    """Before each piece."""
    kind: Literal["slow_body"] = "slow_body"


type Failure = Annotated[Status | Hang | Drop | Garbage | SlowBody, Field(discriminator="kind")]


def draw(failures: Sequence[Failure], share: float) -> Failure | None:
    """What becomes of a request that drew `share`, uniform from 0 to below 1."""
    for failure in failures:
        share -= failure.probability
        if share < 0:
            return failure
    return None
