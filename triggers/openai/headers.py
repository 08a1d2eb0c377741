"""Headers that real-time calls take and give beyond OpenAI's own."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.calls import Attempt
from contracts.errors import InvalidRequest
from contracts.problems import FieldProblem
from triggers.http import Request
from triggers.operation import Parameter

STICKY_HEADER = "x-sluice-sticky-key"
_LONGEST_KEY = 255

STICKY = Parameter(
    STICKY_HEADER,
    "header",
    "Calls with the same key go to the same deployment, while it takes them.",
    {"type": "string", "minLength": 1, "maxLength": _LONGEST_KEY},
)
ANSWER_HEADERS = {
    "x-request-id": "The id that the model's server was given.",
    "x-sluice-deployment": "The deployment that answered.",
}


def sticky_key(req: Request) -> str | None:
    """Raises InvalidRequest when it is empty or too long."""
    key = req.headers.get(STICKY_HEADER)
    if key is not None and not 1 <= len(key) <= _LONGEST_KEY:
        expected = f"a text of 1 to {_LONGEST_KEY} characters"
        raise InvalidRequest(
            f"`{STICKY_HEADER}` is not as expected: {expected}.",
            [FieldProblem(field=STICKY_HEADER, expected=expected)],
        )
    return key


def attempt_headers(attempts: Sequence[Attempt]) -> dict[str, str]:
    """Of the attempt that answered, the last; none where no model was asked."""
    if not attempts:
        return {}
    last = attempts[-1]
    return {"x-request-id": last.request_id, "x-sluice-deployment": last.deployment}
