"""What doors know of a sender, for the screens of tenants.yaml."""

from __future__ import annotations

from contracts.identity import Identity
from contracts.jobs import JobRequest
from policies.screening.sender import Origin, Sender
from triggers.http import Request
from wiring import Parts

FLAGS_HEADER = "x-sluice-flags"


def origin_of(req: Request) -> Origin:
    """From where a request comes: the addresses of X-Forwarded-For, and its user agent."""
    forwarded = req.headers.get("x-forwarded-for", "")
    addresses = tuple(part.strip() for part in forwarded.split(",") if part.strip())
    return Origin(addresses, req.headers.get("user-agent"))


async def screened_job(
    parts: Parts, request: JobRequest, identity: Identity, origin: Origin
) -> list[str]:
    """The flags that a job goes on with. Raises ContentBlocked and DependencyUnavailable."""
    if parts.screening is None:
        return []
    sender = Sender(identity.tenant, identity.subject, origin)
    return await parts.screening.job(sender, request.flow, request.input)


def flag_headers(flags: list[str]) -> dict[str, str]:
    """None where nothing was found."""
    return {FLAGS_HEADER: ", ".join(flags)} if flags else {}
