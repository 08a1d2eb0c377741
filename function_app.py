"""The app object: what Azure Functions indexes. It registers the blueprints, nothing else."""

import azure.durable_functions as df
import azure.functions as func

import wiring
from activities import announce_batch, cancel_calls, publish_reply, run_job
from activities import batches as batch_steps
from orchestrators import batch, job, rollout, standing
from triggers import (
    batch_blobs,
    comparisons,
    deployments,
    jobs,
    operations,
    rollouts,
    service_bus,
)
from triggers.openai import batches, files, models, realtime

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)

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
    service_bus,
    batch_blobs,
    job,
    standing,
    rollout,
    batch,
    batch_steps,
    announce_batch,
    run_job,
    publish_reply,
    cancel_calls,
):
    app.register_functions(module.bp)

wiring.check()
