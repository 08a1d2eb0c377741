"""Who asks: the tenant that pays, and what the one who asks may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a caller may do; each operation names the one that it takes."""

    SUBMIT = "submit"
    """Send requests, and cancel what the tenant has sent."""
    READ = "read"
    """Read what is the tenant's own: jobs, files, batches, results, usage."""
    OPERATE = "operate"
    """Run the service: deployments, rollouts, keys, audit, queues."""
    BILL = "bill"
    """Read the usage of every tenant."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller whose word has been proved."""

    tenant: str
    subject: str
    """Who, as the audit log names them: `key:ID`, `entra:OBJECT-ID`, `platform-key`."""
    roles: frozenset[Role]
    models: frozenset[str] | None = None
    """Of the models that the tenant may use, those that this caller may; None: all of them."""
    flows: frozenset[str] | None = None
    """As `models`, of the flows."""
