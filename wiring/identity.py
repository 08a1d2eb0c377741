"""Who may ask, from tenants.yaml and what the platform says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from contracts.errors import Misconfigured
from endpoints.client import HttpClient
from endpoints.settings import SettingsError
from policies.identity.api_keys import ApiKeys
from policies.identity.identities import Allowed, Identities, Trust
from policies.identity.members import Members
from policies.identity.platform import is_enabled
from policies.identity.tokens import Tokens
from policies.tenants import Tenants, load
from stores.keys import KeyStore

_ROOT = Path(__file__).parents[1]


def tenants_path(environ: Mapping[str, str]) -> Path | None:
    """Where tenants.yaml is to be; None when the app is to know no tenants."""
    if given := environ.get("SLUICE_TENANTS"):
        return Path(given)
    usual = _ROOT / "tenants.yaml"
    return usual if usual.exists() else None


def tenants(environ: Mapping[str, str]) -> Tenants:
    """What tenants.yaml says; without it, what holds for everybody. Raises Misconfigured."""
    path = tenants_path(environ)
    if path is None:
        return Tenants()
    try:
        return load(path, environ)
    except SettingsError as error:
        raise Misconfigured(str(error)) from error


def identities(known: Tenants, keys: KeyStore, environ: Mapping[str, str]) -> Identities | None:
    """How callers are known; None when the app knows no tenants."""
    if not known.names:
        return None
    sections = known.tenants
    trust = Trust(
        platform=known.identity.platform and is_enabled(environ),
        tenants={
            name: Allowed(section.quotas.models, section.quotas.flows)
            for name, section in sections.items()
        },
        unsigned_tenant=known.service_bus.unsigned_tenant,
    )
    return Identities(
        trust,
        Members({name: each.members for name, each in sections.items()}, known.identity.issuers),
        Tokens(known.identity.issuers, HttpClient()),
        ApiKeys(keys),
    )
