"""Every metric of the app, in one place: name, unit, what it counts.

Attributes are few and bounded: models, deployments, flows, tenants and codes, never ids.
"""

from __future__ import annotations

from opentelemetry import metrics

from telemetry.tracing import NAME

_meter = metrics.get_meter(NAME)

JOBS = _meter.create_counter(
    "sluice.jobs", "{job}", "Jobs by what happened to them: accepted, or how they ended."
)
JOB_WAIT = _meter.create_histogram(
    "sluice.job.wait", "s", "From a job's acceptance to the start of its first step."
)
JOB_DURATION = _meter.create_histogram(
    "sluice.job.duration", "s", "From a job's acceptance to its end."
)

CALL_DURATION = _meter.create_histogram(
    "gen_ai.client.operation.duration", "s", "Of one request to one deployment (GenAI convention)."
)
TOKENS = _meter.create_histogram(
    "gen_ai.client.token.usage", "{token}", "Of one request, by gen_ai.token.type."
)
CALLS = _meter.create_counter(
    "sluice.model.calls",
    "{call}",
    "Requests to deployments by outcome.",
)
FIRST_TOKEN = _meter.create_histogram(
    "sluice.model.time_to_first_token", "s", "From a streamed request to its first event."
)
COST = _meter.create_counter("sluice.cost", "{currency}", "What requests cost.")

LINES = _meter.create_counter(
    "sluice.batch.lines",
    "{line}",
    "Lines of batches: out (answered), err (failed), left (once more).",
)
BATCHES = _meter.create_counter("sluice.batches", "{batch}", "Batches by how they ended.")

MESSAGE_AGE = _meter.create_histogram(
    "sluice.message.age", "s", "From a message's arrival in its queue to its being taken up."
)
REJECTED = _meter.create_counter(
    "sluice.messages.rejected", "{message}", "Messages put into the rejected queue, by code."
)
STUCK = _meter.create_counter(
    "sluice.stuck", "{thing}", "Jobs and batches that a sweep found to be stuck, by kind."
)
SCREENED = _meter.create_counter(
    "sluice.screening.findings",
    "{finding}",
    "What screens found in requests and lines, by screen, reason, decision and tenant.",
)
