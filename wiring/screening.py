"""The screens of tenants.yaml, built when there are any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from endpoints.invoke import http_client
from policies.tenants import Tenants

if TYPE_CHECKING:  # the words that it looks for take a while to be put in order
    from policies.screening.screening import Screening


def screening_of(tenants: Tenants) -> Screening | None:
    """None where no tenant's requests pass any screen. Raises Misconfigured."""
    declared = {name: tenants.of(name).screening for name in tenants.names}
    others = tenants.defaults.screening
    if others.is_off and all(each.is_off for each in declared.values()):
        return None
    from policies.screening.screening import Screening

    return Screening(declared, others, http_client)
