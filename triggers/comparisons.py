"""What mirrored calls came to: `/v1/comparisons`."""

from __future__ import annotations

from http import HTTPStatus

import azure.durable_functions as df
from starlette.responses import Response

import wiring
from contracts.comparisons import ComparisonList, summarized
from contracts.errors import InvalidRequest, NotFound
from contracts.identity import Role
from contracts.problems import FieldProblem
from triggers.door import door, json_response, query_int
from triggers.http import Request
from triggers.operation import Operation, Parameter, operation

bp = df.Blueprint()

DEFAULT_LIMIT = 100
MOST = 1000


@operation(
    Operation(
        method="GET",
        path="/v1/comparisons",
        role=Role.OPERATE,
        summary="Mirrored calls of a model, newest first, and what they come to.",
        parameters=(
            Parameter(
                "model", "query", "A model that is mirrored.", {"type": "string"}, required=True
            ),
            Parameter(
                "limit",
                "query",
                "How many of the latest are listed and summed up.",
                {"type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT_LIMIT},
            ),
        ),
        responses={HTTPStatus.OK: ComparisonList},
        problems=(
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.NOT_FOUND,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
    )
)
@bp.function_name("list_comparisons")
@bp.route("v1/comparisons", methods=["GET"])
@door(Role.OPERATE)
async def list_comparisons(req: Request) -> Response:
    """The latest comparisons; they are written a few seconds after the calls."""
    parts = wiring.parts()
    model = req.query.get("model")
    if not model:
        expected = "the name of a model"
        raise InvalidRequest(
            f"`model` is not as expected: {expected}.",
            [FieldProblem(field="model", expected=expected)],
        )
    limit = query_int(req, "limit", default=DEFAULT_LIMIT, least=1, most=MOST)
    if model not in parts.endpoints.models:
        known = ", ".join(parts.endpoints.models)
        raise NotFound(f"There is no model {model!r}; there are {known}.")
    found = await parts.comparisons.latest(model, limit) if parts.comparisons else []
    return json_response(ComparisonList(model=model, summary=summarized(found), data=found))
