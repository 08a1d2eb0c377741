"""Quotas of the tenants that the app knows."""

from __future__ import annotations

from policies.quotas.admission import Cost, Quotas
from policies.tenants import Tenants


def quotas_of(tenants: Tenants, cost: Cost) -> Quotas:
    """`cost`: what a request costs its tenant."""
    settings = {name: tenants.of(name).quotas for name in tenants.names}
    return Quotas(settings, others=tenants.defaults.quotas, cost=cost)
