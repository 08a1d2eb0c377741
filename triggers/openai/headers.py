"""Headers that real-time calls take and give beyond OpenAI's own."""

from __future__ import annotations

import math
from collections.abc import Sequence

from contracts.calls import Attempt
from contracts.errors import InvalidRequest
from contracts.problems import FieldProblem
from contracts.quotas import RateStanding
from triggers.http import Request
from triggers.operation import Parameter
from triggers.screening import FLAGS_HEADER

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
    FLAGS_HEADER: "What screening found in the request and let pass: SCREEN.REASON, ...",
    "x-ratelimit-limit-requests": "Of a tenant that has such a limit: requests a minute.",
    "x-ratelimit-remaining-requests": "How many of them this worker would let pass now.",
    "x-ratelimit-reset-requests": "In how long none would be counted any more, as `1m3s`, `250ms`.",
    "x-ratelimit-limit-tokens": "As of requests, of tokens.",
    "x-ratelimit-remaining-tokens": "As of requests, of tokens.",
    "x-ratelimit-reset-tokens": "As of requests, of tokens.",
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


def rate_headers(standing: Sequence[RateStanding]) -> dict[str, str]:
    """OpenAI's: https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers."""
    headers: dict[str, str] = {}
    for rate in standing:
        headers[f"x-ratelimit-limit-{rate.kind}"] = str(rate.limit)
        headers[f"x-ratelimit-remaining-{rate.kind}"] = str(rate.remaining)
        headers[f"x-ratelimit-reset-{rate.kind}"] = _duration(rate.reset_seconds)
    return headers


def _duration(seconds: float) -> str:
    """As OpenAI writes it: 0s, 250ms, 12s, 1m3s."""
    if 0 < seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
