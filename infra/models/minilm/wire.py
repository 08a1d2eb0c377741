"""JSON in and out of a scoring script, with refusals of wrong input as HTTP 400.

The inference server passes an AMLResponse through with its status; a status other than 200
reaches the caller as 424 with this one in `ms-azureml-model-error-statuscode`.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from azureml_inference_server_http.api.aml_response import AMLResponse

type Json = bool | int | float | str | list[Json] | dict[str, Json] | None
type JsonObject = dict[str, Json]


class WrongInput(Exception):
    """The caller's input is not as expected: `field` is its path, the message says what was."""

    def __init__(self, field: str, expected: str) -> None:
        super().__init__(f"{field}: expected {expected}")
        self.field = field


def answer(raw: str, score: Callable[[JsonObject], JsonObject]) -> JsonObject | AMLResponse:
    """`score` of the JSON object in `raw`; its WrongInput as a 400 in OpenAI's error shape."""
    try:
        return score(_object(raw))
    except WrongInput as wrong:
        refusal = {
            "message": str(wrong),
            "type": "invalid_request_error",
            "param": wrong.field,
            "code": "invalid_value",
        }
        return AMLResponse({"error": refusal}, 400, {}, json_str=True)


def _object(raw: str) -> JsonObject:
    try:
        body: Json = json.loads(raw)
    except ValueError as error:
        raise WrongInput("body", "JSON") from error
    if not isinstance(body, dict):
        raise WrongInput("body", "a JSON object")
    return body


def text(value: Json, field: str) -> str:
    """`value`, checked to be text that says something."""
    if not isinstance(value, str) or not value.strip():
        raise WrongInput(field, "a non-empty string")
    return value


def texts(value: Json, field: str, *, at_most: int) -> list[str]:
    """`value`, checked to be a list of 1 to `at_most` non-empty strings."""
    if not isinstance(value, list) or not 1 <= len(value) <= at_most:
        raise WrongInput(field, f"a list of 1 to {at_most:,} strings")
    return [text(item, f"{field}[{at}]") for at, item in enumerate(value)]
