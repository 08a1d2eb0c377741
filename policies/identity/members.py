"""From what is known of a caller to the tenant they belong to and what they may do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from contracts.errors import Forbidden
from contracts.identity import Identity, Role
from policies.identity.claims import Claims
from policies.identity.settings import IssuerSettings, MemberSettings

ROLE_VALUES = {f"sluice.{role}": role for role in Role}
"""How an issuer spells the roles."""
DEFAULT_ROLES_CLAIM = "roles"


class Members:
    """Who belongs to which tenant."""

    def __init__(
        self, rules: Mapping[str, Iterable[MemberSettings]], issuers: Iterable[IssuerSettings]
    ) -> None:
        """`rules` by the tenant's name."""
        self._claims: dict[str, dict[str, dict[str, set[str]]]] = {}
        """Tenants by issuer, claim and value."""
        for tenant, members in rules.items():
            for member in members:
                claims = self._claims.setdefault(member.issuer, {})
                claims.setdefault(member.claim, {}).setdefault(member.value, set()).add(tenant)
        self._roles_claims = {each.issuer: each.roles_claim for each in issuers}

    def identity(self, claims: Claims) -> Identity:
        """Raises Forbidden for who belongs to no tenant, or to several."""
        tenants: set[str] = set()
        for claim, values in self._claims.get(claims.issuer, {}).items():
            for value in claims.all_of(claim):
                tenants |= values.get(value, set())
        if len(tenants) != 1:
            what = "no tenant" if not tenants else f"several tenants, {', '.join(sorted(tenants))}"
            raise Forbidden(f"{claims.subject} belongs to {what}; it takes exactly one.")
        return Identity(tenants.pop(), claims.subject, self._roles(claims))

    def _roles(self, claims: Claims) -> frozenset[Role]:
        name = self._roles_claims.get(claims.issuer, DEFAULT_ROLES_CLAIM)
        values = {word for text in claims.all_of(name) for word in text.split()}
        return frozenset(role for value, role in ROLE_VALUES.items() if value in values)
