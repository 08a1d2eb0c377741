"""tenants.yaml: who is believed, which tenants there are, and what holds for each.

Checked at once when the app starts: every error says where it is and what was expected there. What
`defaults` says holds for every tenant; a tenant's own section goes before it, field by field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints, ValidationError

from endpoints.marked_yaml import Finding, MarkedYaml
from endpoints.protocols.common_settings import Settings, expected
from endpoints.settings import SettingsError
from policies.identity.settings import IdentitySettings, MemberSettings
from policies.privacy.settings import PrivacySettings
from policies.quotas.settings import QuotaSettings
from policies.screening.settings import ScreeningSettings
from policies.yaml_settings import read_file

TENANT_NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
"""It is the first folder of the names of all that is the tenant's in Blob Storage."""

type TenantName = Annotated[str, StringConstraints(pattern=TENANT_NAME)]


def _some[Part: dict[str, Any]](parts: Part) -> Part:
    if not parts:
        raise expected("at least one")
    return parts


class Section(Settings):
    """What holds for a tenant, or for each that does not say otherwise."""

    quotas: QuotaSettings = QuotaSettings()
    privacy: PrivacySettings = PrivacySettings()
    screening: ScreeningSettings = ScreeningSettings()


class TenantSection(Section):
    members: tuple[MemberSettings, ...] = ()
    """Who belongs to it; API keys name their tenant themselves."""


class ServiceBusSettings(Settings):
    """Who sends messages."""

    unsigned_tenant: TenantName | None = None
    """Whose messages are those that prove no identity: for a namespace where one producer alone
    may send. None: they are rejected."""


class TenantsFile(Settings):
    """The whole file."""

    identity: IdentitySettings = IdentitySettings()
    service_bus: ServiceBusSettings = ServiceBusSettings()
    defaults: Section = Section()
    tenants: Annotated[dict[TenantName, TenantSection], AfterValidator(_some)]


@dataclass(frozen=True, slots=True)
class Tenants:
    """The tenants, each with all that holds for it."""

    identity: IdentitySettings = field(default_factory=IdentitySettings)
    service_bus: ServiceBusSettings = field(default_factory=ServiceBusSettings)
    defaults: TenantSection = field(default_factory=TenantSection)
    """Also of whoever asks where no tenants are known, and of a tenant that there was once and
    whose jobs still run."""
    tenants: Mapping[str, TenantSection] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return list(self.tenants)

    def of(self, name: str) -> TenantSection:
        """What holds for a tenant, `defaults` included."""
        return self.tenants.get(name, self.defaults)


def load(path: Path, environ: Mapping[str, str]) -> Tenants:
    """Read and check a file. `${NAME}` in a value stands for `environ["NAME"]`.

    Raises SettingsError with everything that is wrong.
    """
    file = read_file(path, environ, TenantsFile)
    findings, settings = file.findings, file.settings
    tenants: dict[str, TenantSection] = {}
    if settings is not None:
        findings += _unknown_names(settings, file.document)
        for name, own in settings.tenants.items():
            try:
                tenants[name] = _merged(settings.defaults, own)
            except ValidationError:
                place = ("tenants", name)
                what = "values that go together with those of `defaults`"
                findings.append(Finding(file.document.line(place), place, what))
    if findings or settings is None:
        raise SettingsError(path, sorted(findings, key=lambda finding: finding.line or 0))
    defaults = _merged(settings.defaults, TenantSection())
    return Tenants(settings.identity, settings.service_bus, defaults, tenants)


def _unknown_names(settings: TenantsFile, document: MarkedYaml) -> Iterator[Finding]:
    """Names that stand for something else in the file."""
    unsigned = settings.service_bus.unsigned_tenant
    if unsigned is not None and unsigned not in settings.tenants:
        place = ("service_bus", "unsigned_tenant")
        yield Finding(document.line(place), place, f"one of {', '.join(settings.tenants)}")
    issuers = [each.issuer for each in settings.identity.issuers]
    for name, tenant in settings.tenants.items():
        for index, member in enumerate(tenant.members):
            if member.issuer not in issuers and not settings.identity.platform:
                at = ("tenants", name, "members", index, "issuer")
                what = "an issuer of identity.issuers, while identity.platform is not true"
                yield Finding(document.line(at), at, what)


def _merged(defaults: Section, own: TenantSection) -> TenantSection:
    """Raises ValidationError where the two do not go together."""
    return TenantSection.model_validate(_overlaid(_given(defaults), _given(own)))


def _given(settings: Settings) -> dict[str, Any]:
    """What the file says, and nothing that is only taken as said."""
    return {
        name: _given(value) if isinstance(value, Settings) else value
        for name in settings.model_fields_set
        for value in (getattr(settings, name),)
    }


def _overlaid(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Field by field; what is given above goes before what is given below."""
    both = below | above
    for name in below.keys() & above.keys():
        if isinstance(below[name], dict) and isinstance(above[name], dict):
            both[name] = _overlaid(below[name], above[name])
    return both
