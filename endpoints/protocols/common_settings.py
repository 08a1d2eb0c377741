"""The fields of deployments.yaml that a deployment of any protocol has."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError
from yarl import URL

from contracts.privacy import PersonalData


def expected(what: str) -> PydanticCustomError:
    """A validation error that says what was expected, and never repeats the value."""
    return PydanticCustomError("expected", "{what}", {"what": what})


def _absolute_url(text: str) -> str:
    if not _usable(text):
        raise expected("an absolute http:// or https:// URL, without user, password or fragment")
    return text


def _usable(text: str) -> bool:
    try:
        url = URL(text)
    except ValueError:
        return False
    if url.scheme not in ("http", "https") or url.user or url.password or url.fragment:
        return False
    return bool(url.host) and text.isprintable() and " " not in text


def _header_value(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value().strip()  # a pasted key often ends in a newline
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise expected("a key of printable ASCII characters without spaces")
    return SecretStr(value)


class Settings(BaseModel):
    """A part of deployments.yaml: unknown fields are errors, values are never echoed."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Auth(Settings):
    """How this app proves who it is: exactly one of the two."""

    key: Annotated[SecretStr, AfterValidator(_header_value)] | None = None
    managed_identity: Annotated[str, StringConstraints(pattern=r"^\S+/\.default$")] | None = None
    """The scope to ask a token for: https://ml.azure.com/.default."""

    @model_validator(mode="after")
    def _one(self) -> Auth:
        if (self.key is None) == (self.managed_identity is None):
            raise expected("exactly one of: key, managed_identity")
        return self


type Amount = Annotated[Decimal, Field(ge=0, max_digits=20, decimal_places=12)]
"""Of money; exact, so that sums are."""


class DedicatedPrice(Settings):
    """What a deployment costs by the hour, used or not."""

    per_hour: Amount | None = None
    gpus: Annotated[int, Field(ge=1)] | None = None
    per_gpu_hour: Amount | None = None
    since: AwareDatetime | None = None
    """From when on this price is paid; without, from when a worker first reads it."""

    @property
    def hourly(self) -> Decimal:
        """Of the deployment as a whole."""
        if self.per_hour is not None:
            return self.per_hour
        assert self.per_gpu_hour is not None
        return self.per_gpu_hour * (self.gpus or 1)

    @model_validator(mode="after")
    def _one(self) -> DedicatedPrice:
        if (self.per_hour is None) == (self.per_gpu_hour is None):
            raise expected("exactly one of: per_hour, per_gpu_hour")
        if self.gpus is not None and self.per_gpu_hour is None:
            raise expected("gpus only with per_gpu_hour")
        return self


class Price(Settings):
    """What calls of a deployment cost: by use, or by the hour."""

    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "USD"
    """ISO 4217."""
    input_per_million_tokens: Amount | None = None
    output_per_million_tokens: Amount | None = None
    per_request: Amount | None = None
    per_second: Amount | None = None
    """Of a request, from its start to its end."""
    dedicated: DedicatedPrice | None = None

    @model_validator(mode="after")
    def _by_use_or_by_the_hour(self) -> Price:
        given = self.model_fields_set - {"currency"}
        if not given or ("dedicated" in given and len(given) > 1):
            raise expected("prices by tokens, request or second, or else dedicated")
        return self


_LABEL = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class DeploymentSettings(Settings):
    """One deployment; each protocol adds its own fields."""

    name: Annotated[str, StringConstraints(pattern=_LABEL)]
    url: Annotated[str, AfterValidator(_absolute_url), Field(repr=False)]
    auth: Auth | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 190
    """Of one attempt. The default outlasts Azure ML's longest, 180 s, so that its 408 arrives."""
    connect_timeout_seconds: Annotated[float, Field(gt=0, le=120)] = 5
    max_request_bytes: Annotated[int, Field(gt=0)] | None = None
    max_response_bytes: Annotated[int, Field(gt=0)] = 64 * 1024 * 1024

    priority: Annotated[int, Field(ge=1, le=100)] = 1
    """Lower is asked first; the next only when none of the former takes the call."""
    weight: Annotated[float, Field(ge=0, le=1000)] = 1
    """Share among those of the same priority. None with 0, unless pinned or mirrored to."""
    version: Annotated[str, StringConstraints(pattern=_LABEL)] | None = None
    """What `model@version` asks for."""
    region: Annotated[str, StringConstraints(pattern=_LABEL)] | None = None
    """Preferred by an app of the same SLUICE_REGION."""

    max_concurrency: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Calls at once, across all workers. Without, what the deployment takes is found out."""
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    """Across all workers."""
    tokens_per_minute: Annotated[int, Field(ge=1)] | None = None
    """Across all workers; input and output together, as Azure OpenAI counts them."""
    probe_seconds: Annotated[float, Field(gt=0, le=3600)] = 10
    """How long it is left alone when it keeps failing, before one call tries it again."""

    context_tokens: Annotated[int, Field(ge=1)] | None = None
    """Longer chats go elsewhere; estimated at 4 characters a token."""
    json_mode: bool = True
    """Whether it takes a `response_format`."""
    personal_data: PersonalData = PersonalData.ALLOWED
    """Whether calls may bring it personal data, placeholders instead, or go elsewhere."""
    price: Price | None = None
    """For chargeback; without, calls are counted and cost nothing."""
    modalities: frozenset[Literal["text", "image", "audio", "file"]] | None = None
    """What a chat's content may hold; anything when not given."""
