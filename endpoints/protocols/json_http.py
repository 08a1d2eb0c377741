"""What the protocols that carry JSON over HTTP share."""

from __future__ import annotations

from datetime import datetime

from pydantic import JsonValue
from yarl import URL

from contracts.calls import ModelCall, Usage
from contracts.errors import InvalidRequest
from contracts.problems import FieldProblem
from endpoints import json_body, verdicts
from endpoints.verdicts import Verdict
from endpoints.wire import Reply, Request

JSON_HEADERS = {"content-type": "application/json", "accept": "application/json"}
EVENT_HEADERS = {**JSON_HEADERS, "accept": "text/event-stream"}


class JsonOverHttp:
    """A bearer secret, a JSON body, the status table, and OpenAI's `usage` where there is one."""

    def streaming_request(self, call: ModelCall) -> Request:
        raise InvalidRequest("This model does not stream its answers: ask without `stream`.")

    def health(self) -> Request | None:
        return None

    def authorization(self, secret: str) -> tuple[str, str]:
        return "authorization", f"Bearer {secret}"

    def answer(self, reply: Reply) -> JsonValue:
        return json_body.decode(reply.body or b"")

    def verdict(self, reply: Reply, now: datetime) -> Verdict:
        return verdicts.judge(reply, now)

    def usage(self, answer: JsonValue) -> Usage:
        """Tokens under the chat or the responses names; one request is counted in any case."""
        reported = answer.get("usage") if isinstance(answer, dict) else None
        if not isinstance(reported, dict):
            return Usage(requests=1)
        return Usage(
            input_tokens=_count(reported.get("prompt_tokens", reported.get("input_tokens"))),
            output_tokens=_count(reported.get("completion_tokens", reported.get("output_tokens"))),
            requests=1,
        )


def below(base: str, path: str) -> URL:
    """An address under a base URL, with the base's query."""
    url = URL(base)
    return (url / path).with_query(url.query)


def probe(url: URL) -> Request:
    """A GET that asks whether a server is ready."""
    return Request(url, {"accept": "*/*"}, b"", method="GET")


def invalid(field: str, what: str) -> InvalidRequest:
    """What a payload's field was expected to be; never what it was."""
    return InvalidRequest(f"{field}: expected {what}.", [FieldProblem(field=field, expected=what)])


def _count(value: JsonValue) -> int:
    """A token count; what is not one (null, -1, a string) counts as not reported."""
    return value if type(value) is int and value > 0 else 0
