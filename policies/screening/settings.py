"""Which screens a tenant's requests pass, and what follows: the `screening` of tenants.yaml.

Every screen is off unless the file says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from yarl import URL

from endpoints.protocols.common_settings import Auth, Settings, expected

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _off_is_no_boolean(value: object) -> object:
    # YAML reads a bare `off` as false.
    return "off" if value is False else value


def _resource(text: str) -> str:
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    safe = url.scheme == "https" or (url.scheme == "http" and url.host in _LOOPBACK)
    if not safe or not url.host or url != url.origin() / "":
        raise expected("the https:// address of a resource, without a path")
    return text


type Decision = Annotated[Literal["off", "flag", "block"], BeforeValidator(_off_is_no_boolean)]
"""`flag`: the request goes on, and its record tells; `block`: it is refused."""
type Count = Annotated[int, Field(ge=1, le=10**9)]
type Seconds = Annotated[float, Field(ge=1, le=86_400)]


class ScreenSettings(Settings):
    """Of any one screen."""

    decision: Decision = "off"


class SizeSettings(ScreenSettings):
    """Of one request."""

    characters: Count = 200_000
    """Of all its texts."""
    messages: Count = 500
    attachments: Count = 20
    """Images, sounds and files."""


class RateSettings(ScreenSettings):
    """Requests of one tenant, and of one key, in a minute; lines of batches do not count."""

    least_per_minute: Count = 120
    """Fewer are never a burst."""
    times_usual: Annotated[float, Field(gt=1, le=1000)] = 10
    """A burst has so many times what was usual in the half hour before."""


class RepetitionSettings(ScreenSettings):
    """Requests of one key whose words are the same, but for case, digits and a few words; lines of
    batches do not count."""

    times: Annotated[int, Field(ge=2, le=10**6)] = 30
    within_seconds: Seconds = 600


class KeySharingSettings(ScreenSettings):
    """Places from which one key is used."""

    networks: Count = 5
    """Networks (/24, of IPv6 /48) in use at a time that are still taken for one owner's."""
    agents: Count = 8
    """As `networks`, of user agents."""
    within_seconds: Seconds = 600
    trusted_proxies: Annotated[int, Field(ge=1, le=10)] = 1
    """Proxies in front of the app that add to X-Forwarded-For: 1 is the platform's own, 2 with a
    Front Door or gateway before it. What callers claim beyond them is not believed."""


class InjectionSettings(ScreenSettings):
    """Attempts to talk a model out of its instructions."""

    system_messages: bool = False
    """Whether what is sent as system or developer message is read too. It is usually written by
    the application, and speaks of rules as attacks do."""


type Severity = Annotated[int, Field(ge=1, le=7)]


class Severities(Settings):
    """From which severity on a category counts: 2 low, 4 medium, 6 high; None: never."""

    hate: Severity | None = 4
    self_harm: Severity | None = 4
    sexual: Severity | None = 4
    violence: Severity | None = 4


class ContentSafetySettings(ScreenSettings):
    """Azure AI Content Safety: each text is sent to it before the model is asked."""

    endpoint: Annotated[str, AfterValidator(_resource)] | None = None
    """https://NAME.cognitiveservices.azure.com"""
    auth: Auth | None = None
    """A key, or managed_identity: https://cognitiveservices.azure.com/.default."""
    severities: Severities = Severities()
    blocklists: tuple[Annotated[str, StringConstraints(min_length=1, max_length=64)], ...] = ()
    """Names of blocklists of the resource."""
    prompt_shields: bool = True
    timeout_seconds: Annotated[float, Field(gt=0, le=30)] = 2
    """Of all that is asked about one request."""
    on_error: Literal["allow", "refuse"] = "allow"
    """When it does not answer: the request goes on unseen, or is refused with 503, and a job or a
    line is tried again later."""


class ScreeningSettings(Settings):
    """What a tenant's requests pass."""

    size: SizeSettings = SizeSettings()
    rate: RateSettings = RateSettings()
    repetition: RepetitionSettings = RepetitionSettings()
    key_sharing: KeySharingSettings = KeySharingSettings()
    injection: InjectionSettings = InjectionSettings()
    content_safety: ContentSafetySettings = ContentSafetySettings()

    def screens(self) -> Iterator[ScreenSettings]:
        yield self.size
        yield self.rate
        yield self.repetition
        yield self.key_sharing
        yield self.injection
        yield self.content_safety

    @property
    def is_off(self) -> bool:
        return all(screen.decision == "off" for screen in self.screens())


OFF = ScreeningSettings()
