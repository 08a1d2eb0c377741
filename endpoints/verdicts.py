"""What a status means, by the table of Azure ML online endpoints and of the OpenAI API.

    2xx                        an answer, when its body can be read
    401 402 403 404 405 410    unusable: an operator must act. So is a redirect: none is followed
    408                        unknown: the model may have run
    424                        the container answered non-200: judged by the status it gave
    429                        throttled; `insufficient_quota` is unusable, for no wait helps
    other 4xx                  rejected: it is about the input
    5xx                        failed

`may_have_run` is what at-most-once rests on. Only refusals at the door are certain not to have
run: a 4xx of the endpoint itself, which never reaches the model. No 5xx is: a 500 can come out of
a half-done model, a gateway gives 502 and 504 when the model's answer was lost or late, and 503
also when it lost the connection to a container that was already working.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from contracts.calls import AttemptOutcome
from endpoints.retry_after import retry_after
from endpoints.wire import NoReply, Reply

MODEL_STATUS = "ms-azureml-model-error-statuscode"
MODEL_REASON = "ms-azureml-model-error-reason"

DEFAULT_WAIT = 2.0
"""Seconds to leave a throttling deployment alone when it does not say for how long."""

_UNUSABLE = frozenset({401, 402, 403, 404, 405, 410})
_EXHAUSTED = "insufficient_quota"

# A model's error text may quote the prompt. What leaves this module is therefore only what looks
# like an identifier: no spaces, nothing long.
_CODE = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_PARAM = re.compile(r"[A-Za-z0-9_.\-\[\]]{1,128}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one request came to."""

    outcome: AttemptOutcome
    reason: str | None = None
    """In brief, for the attempt's record: built of our own words, statuses and error codes."""
    may_have_run: bool = False
    wait: float | None = None
    """Seconds during which the deployment should be left alone."""
    token_refused: bool = False
    """The credential itself was refused; another token may be accepted."""
    param: str | None = None
    """The part of the request at fault, where the error names it: `messages[0].content`."""


ANSWERED = Verdict("answered")
NO_TOKEN = Verdict("failed", "no token of the managed identity")
CANCELLED = Verdict("cancelled", "given up before it was answered", may_have_run=True)


def judge(reply: Reply, now: datetime) -> Verdict:
    """What an answer outside 2xx means. `now` is aware; it dates a Retry-After."""
    code, param = error_code(reply.body)
    if reply.status == 424:
        return _judge_model(reply.headers, code, param, now)
    reason = _reason(f"HTTP {reply.status}", code)
    if reply.status in _UNUSABLE or reply.status < 400 or code == _EXHAUSTED:
        return Verdict("unusable", reason, token_refused=reply.status == 401)
    return _judge_request(reply.status, reason, param, retry_after(reply.headers, now))


def judge_silence(nothing: NoReply) -> Verdict:
    """What it means that no whole answer came."""
    if nothing.sent:
        return Verdict("unknown", nothing.reason, may_have_run=True)
    return Verdict("not_connected", nothing.reason)


def unreadable(reply: Reply, why: str) -> Verdict:
    """A success whose body cannot be used: the model ran, its answer is of no use."""
    return Verdict("failed", f"HTTP {reply.status}, {why}", may_have_run=True)


def _judge_request(status: int, reason: str, param: str | None, wait: float | None) -> Verdict:
    if status == 408:
        return Verdict("unknown", reason, may_have_run=True)
    if status == 429:
        return Verdict("throttled", reason, wait=wait or DEFAULT_WAIT)
    if status < 500:
        return Verdict("rejected", reason, param=param)
    return Verdict("failed", reason, may_have_run=True, wait=wait)


def _judge_model(
    headers: Mapping[str, str], code: str | None, param: str | None, now: datetime
) -> Verdict:
    """A 424: the status is the endpoint's, the facts are the container's."""
    inner = headers.get(MODEL_STATUS, "").strip()
    reason = _reason("HTTP 424", code or _matching(_CODE, headers.get(MODEL_REASON)))
    if not re.fullmatch(r"[1-5][0-9]{2}", inner):
        return Verdict("failed", reason, may_have_run=True)
    reason = f"{reason}, model {inner}"
    status = int(inner)
    if status in _UNUSABLE:
        # The container's own doing, a wrong route or a permission it lacks: not our token's.
        return Verdict("unusable", reason, may_have_run=True)
    if status < 400 or status == 424:
        return Verdict("failed", reason, may_have_run=True)
    return _judge_request(status, reason, param, retry_after(headers, now))


def _reason(status: str, code: str | None) -> str:
    return f"{status} ({code})" if code else status


def error_code(body: bytes | None) -> tuple[str | None, str | None]:
    """`code` (else `type`) and `param` of an OpenAI-shaped error body, `error_code` of MLflow's and
    Databricks' own; None where absent. Where Databricks passes another's error on, that one's."""
    try:
        decoded = json.loads(body or b"")
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(decoded, dict):
        return None, None
    passed_on = decoded.get("external_model_message")
    said = passed_on if isinstance(passed_on, dict) else decoded
    error = said.get("error")
    if not isinstance(error, dict):
        return _matching(_CODE, said.get("error_code")), None
    code = _matching(_CODE, error.get("code")) or _matching(_CODE, error.get("type"))
    return code, _matching(_PARAM, error.get("param"))


def _matching(shape: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and shape.fullmatch(value) else None
