"""Identities that App Service authentication has checked: the header X-MS-CLIENT-PRINCIPAL.

The platform takes such headers out of what comes from outside and sets its own, but only while its
authentication is on; it tells the app so in WEBSITE_AUTH_ENABLED, which it sets itself. While it is
off the header is whatever a caller wrote: a request that has it is refused, not passed over, since
whoever wrote it meant to be believed.
https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities and
https://learn.microsoft.com/azure/app-service/reference-app-settings
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from pydantic import BaseModel, JsonValue, ValidationError

from contracts.errors import Unauthenticated
from policies.identity.claims import Claims

PRINCIPAL = "x-ms-client-principal"
_SET_BY_PLATFORM = (
    PRINCIPAL,
    "x-ms-client-principal-id",
    "x-ms-client-principal-name",
    "x-ms-client-principal-idp",
)
ENABLED = "WEBSITE_AUTH_ENABLED"
LONGEST = 64 * 1024
"""Characters; App Service itself takes no longer headers."""

_SHORT_NAMES = {
    "http://schemas.microsoft.com/identity/claims/objectidentifier": "oid",
    "http://schemas.microsoft.com/identity/claims/tenantid": "tid",
    "http://schemas.microsoft.com/identity/claims/scope": "scp",
    "http://schemas.microsoft.com/ws/2008/06/identity/claims/role": "roles",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier": "sub",
}
"""What the platform makes of the names that the token had."""


class _Claim(BaseModel):
    typ: str
    val: str


class _Principal(BaseModel):
    auth_typ: str
    claims: list[_Claim]
    role_typ: str | None = None


def is_enabled(environ: Mapping[str, str]) -> bool:
    """Whether the platform says that its authentication is on."""
    return environ.get(ENABLED, "").lower() == "true"


def given_principal(headers: Mapping[str, str], *, trusted: bool) -> str | None:
    """The header; None when there is none. Raises Unauthenticated for a forged one."""
    if not trusted and any(name in headers for name in _SET_BY_PLATFORM):
        raise Unauthenticated(
            "The request has a header X-MS-CLIENT-PRINCIPAL that the platform did not set."
        )
    return headers.get(PRINCIPAL)


def read_principal(header: str) -> Claims:
    """What the platform says of a caller. Raises Unauthenticated when it cannot be read."""
    try:
        if len(header) > LONGEST:
            raise ValueError
        principal = _Principal.model_validate_json(base64.b64decode(header, validate=True))
    except (ValidationError, binascii.Error, ValueError):
        raise Unauthenticated("The header X-MS-CLIENT-PRINCIPAL cannot be read.") from None
    found: dict[str, list[JsonValue]] = {}
    for claim in principal.claims:
        found.setdefault(_name(claim.typ, principal.role_typ), []).append(claim.val)
    # Providers that issue no tokens of OpenID Connect have no `iss`.
    issuers = found.get("iss") or [f"platform:{principal.auth_typ}"]
    if len(issuers) != 1:
        raise Unauthenticated("The header X-MS-CLIENT-PRINCIPAL names several issuers.")
    return Claims(str(issuers[0]), dict(found))


def _name(typ: str, role_typ: str | None) -> str:
    return "roles" if typ == role_typ else _SHORT_NAMES.get(typ, typ)
