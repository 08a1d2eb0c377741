"""Real-time calls, screened before a model or a flow is asked.

What becomes a job is screened as one, and not here too: it would count twice.
"""

from __future__ import annotations

from starlette.responses import Response

from contracts.calls import JsonObject
from contracts.flows import FlowInfo
from policies.screening.sender import Sender
from triggers.openai.asked import Asked
from triggers.openai.background import wanted
from triggers.screening import flag_headers, origin_of


async def screened(asked: Asked) -> list[str]:
    """The flags that a call goes on with. Raises ContentBlocked and DependencyUnavailable."""
    screening = asked.parts.screening
    if screening is None or wanted(asked) is not None:
        return []
    return await screening.call(_sender(asked), asked.body.payload())


async def screened_for_flow(asked: Asked, flow: FlowInfo, input: JsonObject) -> list[str]:
    """As `screened`, of what the flow is given."""
    screening = asked.parts.screening
    if screening is None or wanted(asked) is not None:
        return []
    return await screening.job(_sender(asked), flow.name, input)


def flagged(response: Response, flags: list[str]) -> Response:
    """The same response, which tells of the flags."""
    response.headers.update(flag_headers(flags))
    return response


def _sender(asked: Asked) -> Sender:
    identity = asked.req.identity
    return Sender(identity.tenant, identity.subject, origin_of(asked.req))
