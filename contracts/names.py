"""Names by which rooms find each other's functions, events and queues."""

JOB_ORCHESTRATOR = "job"
RUN_JOB_ACTIVITY = "run_job"
CANCEL_EVENT = "cancel"

MOST_STARTS = 5
"""How often one step of a job is started: again after its worker died or storage failed it."""

PUBLISH_REPLY_ACTIVITY = "publish_reply"

SERVICE_BUS_CONNECTION = "ServiceBusConnection"
"""The app setting of the namespace: a connection string, or NAME__fullyQualifiedNamespace."""
REQUESTS_QUEUE = "inference-requests"
RESULTS_QUEUE = "inference-results"
REJECTED_QUEUE = "inference-rejected"
