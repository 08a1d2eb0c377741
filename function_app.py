"""The app object: what Azure Functions indexes. It registers the blueprints, nothing else."""

import azure.durable_functions as df
import azure.functions as func

from activities import run_job
from orchestrators import job
from triggers import jobs, operations

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)

for blueprint in (jobs.bp, operations.bp, job.bp, run_job.bp):
    app.register_functions(blueprint)
