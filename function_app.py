"""The app object: what Azure Functions indexes. It registers the blueprints, nothing else."""

import azure.durable_functions as df

import wiring
from activities import (
    announce_batch,
    cancel_calls,
    free_slot,
    note_audit,
    publish_reply,
    run_job,
)
from activities import batches as batch_steps
from orchestrators import batch, job, quotas, rollout, standing
from triggers import (
    audit,
    batch_blobs,
    comparisons,
    console,
    deployments,
    jobs,
    keys,
    operations,
    queues,
    retention,
    rollouts,
    service_bus,
    sweeper,
    usage,
)
from triggers.openai import batches, files, models, realtime

app = df.DFApp(http_auth_level=wiring.auth_level())

for module in (
    jobs,
    realtime,
    models,
    files,
    batches,
    operations,
    deployments,
    rollouts,
    comparisons,
    keys,
    audit,
    usage,
    console,
    queues,
    service_bus,
    batch_blobs,
    job,
    standing,
    quotas,
    rollout,
    batch,
    batch_steps,
    announce_batch,
    run_job,
    publish_reply,
    cancel_calls,
    free_slot,
    note_audit,
    retention,
    sweeper,
):
    app.register_functions(module.bp)

wiring.check()
