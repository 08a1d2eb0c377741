"""A tenant's rules of privacy, as tenants.yaml has them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from endpoints.protocols.common_settings import Settings, expected
from policies.privacy import patterns
from policies.privacy.kinds import Kind

_DURATION = TypeAdapter(timedelta)
_LONGEST = timedelta(days=36_500)


def _duration(value: object) -> object:
    try:
        if isinstance(value, str | timedelta):
            duration = _DURATION.validate_python(value)
            if timedelta(0) < duration <= _LONGEST:
                return duration
    except ValidationError:
        pass
    raise expected("an ISO 8601 duration such as P30D, of at most 100 years")


def _compiles(pattern: str) -> str:
    if (why := patterns.wrong(pattern)) is not None:
        raise expected(why)
    return pattern


type Duration = Annotated[timedelta, BeforeValidator(_duration)]
type PatternName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
type Pattern = Annotated[
    str, StringConstraints(min_length=1, max_length=512), AfterValidator(_compiles)
]
type EntityName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,39}$")]


class PresidioSettings(Settings):
    """What Microsoft Presidio is to find, beside the patterns."""

    model: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")] = (
        "en_core_web_lg"
    )
    """A model of spaCy that is installed: none is downloaded."""
    entities: tuple[EntityName, ...] = ("PERSON", "LOCATION")
    """Presidio's names of kinds."""
    score: Annotated[float, Field(ge=0, le=1)] = 0.5
    """How sure it must be."""


class RetentionSettings(Settings):
    """How long things are kept from their end on; what is not named stays."""

    requests: Duration | None = None
    """What jobs asked, with their keys of idempotency; the jobs are not found any more."""
    results: Duration | None = None
    files: Duration | None = None
    """From their making on; not while a batch that has not ended reads them."""
    batches: Duration | None = None

    @property
    def keeps_all(self) -> bool:
        return self == RetentionSettings()


class PrivacySettings(Settings):
    """What is kept from deployments whose `personal_data` is not `allowed`, and for how long the
    rest is kept here."""

    kinds: frozenset[Kind] = frozenset(Kind)
    patterns: dict[PatternName, Pattern] = Field(default={}, max_length=32)
    """The tenant's own kinds, in the syntax of RE2."""
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")] = "en"
    """ISO 639-1, for Presidio."""
    presidio: PresidioSettings | None = None
    restore: bool = False
    """Whether answers get back what stands behind their placeholders."""
    retention: RetentionSettings = RetentionSettings()
