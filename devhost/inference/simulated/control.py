"""The control door: behaviours in, states out."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import ValidationError

from devhost.inference.simulated.behaviour import BEHAVIOUR
from devhost.inference.simulated.deployment import Deployment
from devhost.inference.simulated.reply import Reply, error
from devhost.inference.simulated.state import STATE

PREFIX = "/_control"


def control(method: str, path: str, body: bytes, deployments: Mapping[str, Deployment]) -> Reply:
    """What to answer to a path below PREFIX."""
    name, *rest = path.removeprefix(PREFIX).removeprefix("/").split("/")
    if not name and not rest:
        content = json.dumps({"deployments": list(deployments)})
        return Reply(content.encode()) if method == "GET" else error(405, "GET only.")
    deployment = deployments.get(name)
    if deployment is None or rest not in ([], ["counts"]):
        return error(404, f"The deployments are: {', '.join(deployments)}.")
    match method, rest:
        case "GET", []:
            return _state(deployment)
        case "PUT", []:
            return _put(deployment, body)
        case "DELETE", ["counts"]:
            deployment.reset_counts()
            return _state(deployment)
        case _:
            return error(405, "GET and PUT a deployment, DELETE its counts.")


def _put(deployment: Deployment, body: bytes) -> Reply:
    try:
        behaviour = BEHAVIOUR.validate_json(body)
    except ValidationError as problems:
        return error(422, str(problems))
    deployment.set(behaviour)
    return _state(deployment)


def _state(deployment: Deployment) -> Reply:
    return Reply(STATE.dump_json(deployment.state()))
