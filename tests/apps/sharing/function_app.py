"""The operators' doors, and one that calls a model in the very process that is asked."""

import json

import azure.durable_functions as df
import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response

import wiring
from activities import note_audit
from contracts.calls import CallScope, ModelCall, Task
from contracts.errors import SluiceError
from contracts.names import HUB_BINDING
from orchestrators import rollout, standing
from triggers import audit, deployments, rollouts

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
for module in (standing, rollout, deployments, rollouts, note_audit, audit):
    app.register_functions(module.bp)


@app.route(route="call/{model}", methods=["POST"])
@app.generic_input_binding(**HUB_BINDING)
async def call(req: Request, hub: str) -> Response:
    parts = wiring.parts()
    parts.share_by(hub)
    scope = CallScope("job", "tenant")
    asked = ModelCall(req.path_params["model"], Task.SCORE, {})
    try:
        await parts.endpoints.invoke(asked, scope)
    except SluiceError as error:
        return _json({"code": error.code, "attempts": len(scope.attempts)})
    return _json({"code": "answered", "deployment": scope.attempts[-1].deployment})


@app.route(route="statuses", methods=["GET"])
async def statuses(req: Request) -> Response:
    """As this worker knows them, without asking."""
    found = wiring.parts().endpoints.statuses()
    return _json({each.name: each.model_dump(mode="json") for each in found})


def _json(body: object) -> Response:
    return Response(json.dumps(body), media_type="application/json")
