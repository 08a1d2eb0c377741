"""The app object: what Azure Functions indexes. It registers the blueprints, nothing else."""

import azure.durable_functions as df
import azure.functions as func

import wiring
from activities import publish_reply, run_job
from orchestrators import job
from triggers import jobs, operations, service_bus

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)

for blueprint in (jobs.bp, operations.bp, service_bus.bp, job.bp, run_job.bp, publish_reply.bp):
    app.register_functions(blueprint)

wiring.check()
