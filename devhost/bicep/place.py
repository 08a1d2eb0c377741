"""Where a template is deployed, and what it may ask of the place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from devhost.bicep.functions import Known
from devhost.bicep.values import Value

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
TENANT = "00000000-0000-0000-0000-000000000002"


@dataclass(frozen=True, slots=True)
class Place:
    """A subscription, or a resource group in it."""

    group: str | None = None
    location: str = "swedencentral"

    @property
    def path(self) -> str:
        whole = f"/subscriptions/{SUBSCRIPTION}"
        return f"{whole}/resourceGroups/{self.group}" if self.group else whole

    def resource_path(self, kind: str, *names: str) -> str:
        """The id of a resource here: its type's parts with its names in between."""
        namespace, *types = kind.split("/")
        steps = [step for pair in zip(types, names, strict=True) for step in pair]
        return "/".join([self.path, "providers", namespace, *steps])

    def functions(self) -> Mapping[str, Known]:
        """Those whose answer depends on the place."""
        subscription: dict[str, Value] = {
            "id": f"/subscriptions/{SUBSCRIPTION}",
            "subscriptionId": SUBSCRIPTION,
            "tenantId": TENANT,
        }
        group: dict[str, Value] = {
            "id": self.path,
            "name": self.group or "",
            "location": self.location,
        }
        return {
            "subscription": lambda: subscription,
            "resourceGroup": lambda: group,
            "tenant": lambda: {"tenantId": TENANT},
            "environment": lambda: {
                "suffixes": {"storage": "core.windows.net"},
                "authentication": {"loginEndpoint": "https://login.microsoftonline.com/"},
            },
            "resourceId": self.resource_path,
            "subscriptionResourceId": Place().resource_path,
        }
