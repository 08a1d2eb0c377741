"""How a deployment behaves until it is told otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field, TypeAdapter, with_config

from devhost.inference.simulated.failures import Failure
from devhost.inference.simulated.fields import STRICT
from devhost.inference.simulated.latency import Constant, Latency
from devhost.inference.simulated.retry_after import RetryAfter

type _Rate = Annotated[float, Field(gt=0)]


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """By default every request is answered at once.

    A request meets, in this order: the rate limits and the capacity, which refuse it with 429;
    the failures, of which it draws one or none; the line before the workers; the latency.
    """

    latency: Latency = field(default_factory=Constant)
    """How long a request is served, from when its turn comes."""
    workers: Annotated[int, Field(ge=1)] | None = None
    """Requests served at a time; later ones wait in line, so that beyond it latency grows.

    None: all that are inside.
    """
    capacity: Annotated[int, Field(ge=0)] | None = None
    """Requests inside at once, those in line, hung and failing included. None: any number."""
    requests_per_minute: _Rate | None = None
    tokens_per_minute: _Rate | None = None
    """Of prompts and answers."""
    burst_seconds: _Rate = 10
    """What of a rate limit may be used at once, as seconds of it, and one request at least.

    Azure OpenAI looks at windows of 1 to 10 seconds.
    """
    retry_after: RetryAfter | None = field(default_factory=RetryAfter)
    """With a 429 of the capacity; one of a rate limit says in the same header when there is room.

    None: neither says anything.
    """
    completion_tokens: Annotated[int, Field(ge=1, le=100_000)] = 54
    """Of a chat answer, if the request allows as many: one word each."""
    failures: tuple[Failure, ...] = ()
    """Their probabilities sum to 1 at most; what is left is answered."""

    def __post_init__(self) -> None:
        if sum(failure.probability for failure in self.failures) > 1 + 1e-9:
            raise ValueError("the failures' probabilities sum to more than 1")


BEHAVIOUR: TypeAdapter[Behaviour] = TypeAdapter(Behaviour)


def checked(behaviour: Behaviour) -> Behaviour:
    """The same behaviour. Raises pydantic's ValidationError when a value is out of bounds."""
    return BEHAVIOUR.validate_python(behaviour)
