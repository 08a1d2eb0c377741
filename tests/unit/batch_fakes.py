"""A batch endpoint in memory: it takes jobs, ends them when told, and can fail in each way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import JsonValue

from endpoints.wire import NoReply, Reply, Request
from tests.unit.endpoints_fakes import reply

REFUSED = NoReply(sent=False, reason="connection refused")
LOST = NoReply(sent=True, reason="connection lost after the request was sent")

type Trouble = Callable[[Request], Reply | NoReply | None]
"""What happens instead; None lets the request through."""


@dataclass
class BatchEndpoint:
    """Behaves as https://NAME.REGION.inference.ml.azure.com/jobs does."""

    honours_names: bool = True
    jobs: dict[str, str] = field(default_factory=dict)
    """Statuses by name."""
    submitted: list[dict[str, JsonValue]] = field(default_factory=list)
    looks: int = 0
    cancelled: list[str] = field(default_factory=list)
    before: list[Trouble] = field(default_factory=list)
    """For the requests to come, in order: what happens before the endpoint has got it."""
    after: list[Trouble] = field(default_factory=list)
    """Likewise, what happens to its reply."""

    async def exchange(self, request: Request) -> Reply | NoReply:
        if self.before and (instead := self.before.pop(0)(request)) is not None:
            return instead
        answer = self._answer(request)
        if self.after and (instead := self.after.pop(0)(request)) is not None:
            return instead
        return answer

    def _answer(self, request: Request) -> Reply:
        if request.url.path.endswith("/cancel"):
            name = request.url.parts[-2]
            self.cancelled.append(name)
            return reply(200 if name in self.jobs else 404)
        if request.method == "GET":
            self.looks += 1
            return self._told(request.url.name)
        return self._taken(json.loads(request.body)["properties"])

    def _told(self, name: str) -> Reply:
        status = self.jobs.get(name)
        if status is None:
            return reply(404, {"error": {"code": "NotFound"}})
        return reply(200, job(name, status))

    def _taken(self, properties: dict[str, JsonValue]) -> Reply:
        name = str(properties["name"]) if self.honours_names else f"job-{len(self.jobs)}"
        if name in self.jobs:
            return reply(409, {"error": {"code": "Conflict"}})
        self.submitted.append(properties)
        self.jobs[name] = "NotStarted"
        return reply(201, job(name, "NotStarted"))

    def all_are(self, status: str) -> None:
        self.jobs = dict.fromkeys(self.jobs, status)


def job(name: str, status: str) -> JsonValue:
    """A BatchJobResource."""
    outputs: JsonValue = {
        "score": {"jobOutputType": "UriFile", "uri": f"azureml://out/{name}/predictions.csv"}
    }
    return {
        "id": f"/subscriptions/s/resourceGroups/g/providers/…/batchEndpoints/e/jobs/{name}",
        "name": name,
        "properties": {"status": status, "outputData": outputs},
    }


def always(answer: Reply | NoReply) -> Trouble:
    return lambda request: answer


def nothing(request: Request) -> None:
    return None
