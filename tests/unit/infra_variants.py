"""Deployments of infra/ that tests look at: parameters as azd would take them, rendered."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from devhost.bicep.__main__ import DEFAULTS, INFRA, deployment
from devhost.bicep.parameters import read_parameters
from devhost.bicep.place import Place
from devhost.bicep.render import Rendered, render
from devhost.bicep.template import Template

ROOT = Path(__file__).parents[2]
OPERATOR = "11111111-1111-1111-1111-111111111111"
DEPLOYER = "22222222-2222-2222-2222-222222222222"

VARIANTS = {
    "as it is": {},
    "smallest": {
        "SLUICE_SIZE": "smallest",
        "SLUICE_NETWORK": "public",
        "SLUICE_FRONT_DOOR": "false",
    },
    "smallest, private": {"SLUICE_SIZE": "smallest"},
    "public": {"SLUICE_NETWORK": "public"},
    "scheduler": {"SLUICE_DURABLE_BACKEND": "durableTaskScheduler"},
    "two regions": {"SLUICE_OTHER_REGIONS": "norwayeast"},
    "everything": {
        "SLUICE_OTHER_REGIONS": "norwayeast, westeurope",
        "SLUICE_PLAN": "elasticPremium",
        "SLUICE_DURABLE_BACKEND": "durableTaskScheduler",
        "SLUICE_EGRESS": "firewall",
        "SLUICE_BLOB_DOOR": "true",
        "SLUICE_DEPLOYER_ADDRESSES": "203.0.113.7/32,203.0.113.8/32",
        "SLUICE_REPLY_QUEUE_NAMES": "shop-replies",
        "SLUICE_ENTRA_CLIENT_ID": "33333333-3333-3333-3333-333333333333",
        "SLUICE_ALERT_EMAIL": "nights@example.com",
        "SLUICE_MONTHLY_BUDGET": "9000",
        "SLUICE_OWN_KEYS": "true",
        "AZURE_PRINCIPAL_ID": OPERATOR,
        "SLUICE_DEPLOYER_ID": DEPLOYER,
    },
}


def rendered(variant: str, infra: Path = INFRA) -> list[Rendered]:
    return deployment({**DEFAULTS, **VARIANTS[variant]}, infra)


@cache
def resources(variant: str) -> tuple[Rendered, ...]:
    """Once for all tests: they only read."""
    return tuple(rendered(variant))


@cache
def serving() -> tuple[Rendered, ...]:
    """What infra/serving.bicep makes of its own parameters."""
    path = INFRA / "serving.bicep"
    environment = {"SLUICE_MACHINE_LEARNING": "mlw-sluice-abcd1234"}
    given = read_parameters(INFRA / "serving.parameters.json", Template(path), environment)
    return tuple(render(path, given, Place("rg-dry-run")))


@cache
def blob_events() -> tuple[Rendered, ...]:
    given = {"appName": "func-sluice-a", "accountName": "stsluicedataa"}
    return tuple(render(INFRA / "event-grid.bicep", given, Place("rg-dry-run")))


def of_type(found: tuple[Rendered, ...], kind: str) -> list[Rendered]:
    return [each for each in found if each.type == kind]


def settings_of(variant: str) -> dict[str, str]:
    """The app settings of the first region's app."""
    configs = of_type(resources(variant), "Microsoft.Web/sites/config")
    return next(each for each in configs if each.name.endswith("/appsettings")).body["properties"]
