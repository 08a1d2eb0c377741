"""Keep an event of the audit log for what an orchestrator does by itself."""

from __future__ import annotations

import azure.durable_functions as df

import wiring
from contracts.audit import AuditEvent
from contracts.names import NOTE_AUDIT_ACTIVITY

bp = df.Blueprint()


@bp.activity_trigger(input_name="event", activity=NOTE_AUDIT_ACTIVITY)
async def note_audit(event: object) -> None:
    """AuditEvent in; its id is made by the orchestrator, so that a repeat keeps it once.

    Raises DependencyUnavailable when storage cannot be used.
    """
    await wiring.parts().audit.write(AuditEvent.model_validate(event))
