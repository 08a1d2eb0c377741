"""The durable task hub: the vendor's gRPC service over SQLite, for developing and testing.

    model, proto, events     what there is, and how it looks on the wire
    journal, rows, schema,   what is written, and read again
    database, queries
    instances … turns, hub   what happens: pure, no transport, any clock
    dispatch, ready, pacing  who does what, and when
    committer                group commit
    calls, streams, service, the gRPC service, and the process
    server

docs/decisions/0004-durable-task-hub.md says why.
"""

from devhost.task_hub.durable.server import DurableHub
from devhost.task_hub.durable.settings import HubSettings

__all__ = ["DurableHub", "HubSettings"]
