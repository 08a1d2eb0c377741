"""The OpenAPI 3.1 document, generated from the operations and their pydantic models."""

from __future__ import annotations

import json
from functools import cache
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from contracts.problems import PROBLEM_MEDIA_TYPE, Problem
from triggers.operation import ANY_BYTES, CSV_MEDIA_TYPE, OPERATIONS, Operation, Parameter

_SECURITY_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "Of an app with tenants: a JWT of an issuer that it knows, or an API key.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "api-key",
        "description": "Of an app with tenants: an API key.",
    },
    "functionKey": {
        "type": "apiKey",
        "in": "header",
        "name": "x-functions-key",
        "description": "Of an app without tenants: the platform's key.",
    },
}
_REF = "#/components/schemas/{model}"
_EVENTS = {"text/event-stream": {"schema": {"type": "string"}}}


@cache
def document() -> str:
    """The document as JSON text."""
    return json.dumps(build(OPERATIONS), indent=1)


def build(operations: list[Operation]) -> dict[str, Any]:
    """The OpenAPI document of these operations."""
    paths: dict[str, dict[str, Any]] = {}
    for described in operations:
        paths.setdefault(described.path, {})[described.method.lower()] = _operation(described)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sluice",
            "version": "0.1.0",
            "description": "Jobs for GPU-backed models, through flows, without waiting on them.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(operations),
            "securitySchemes": _SECURITY_SCHEMES,
        },
    }


def _schemas(operations: list[Operation]) -> dict[str, Any]:
    shown: set[type[BaseModel]] = {Problem}
    for described in operations:
        shown |= {model for model in described.responses.values() if not isinstance(model, str)}
        shown |= {described.error_model} if described.error_model is not None else set()
    sent = {described.body for described in operations if described.body is not None}
    _, schema = models_json_schema(
        [(model, "serialization") for model in sorted(shown, key=_name)]
        + [(model, "validation") for model in sorted(sent, key=_name)],
        ref_template=_REF,
    )
    definitions: dict[str, Any] = schema["$defs"]
    return definitions


def _name(model: type[BaseModel]) -> str:
    return model.__name__


def _operation(described: Operation) -> dict[str, Any]:
    result: dict[str, Any] = {
        "summary": described.summary,
        "operationId": f"{described.method.lower()} {described.path}",
        "parameters": [_parameter(parameter) for parameter in described.parameters],
        "responses": _responses(described),
    }
    if described.body is not None:
        result["requestBody"] = {"required": True, "content": _content(described.body)}
    if described.form is not None:
        result["requestBody"] = {"required": True, "content": _form(described.form)}
    if described.role is not None:
        result["description"] = f"Takes the role `{described.role}`."
        result["security"] = [{name: []} for name in _SECURITY_SCHEMES]
    return result


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": parameter.required,
        "schema": parameter.schema,
    }


def _responses(described: Operation) -> dict[str, Any]:
    headers = {
        name: {"description": text, "schema": {"type": "string"}}
        for name, text in described.response_headers.items()
    }
    responses: dict[str, Any] = {
        str(int(status)): {
            "description": status.phrase,
            "content": _content(model) | (_others(described) if status == 200 else {}),
            "headers": headers,
        }
        for status, model in described.responses.items()
    }
    for status in described.problems:
        responses[str(int(status))] = {"description": status.phrase, "content": _error(described)}
    if described.role is not None:
        responses |= _refusals(described)
    responses[str(int(HTTPStatus.INTERNAL_SERVER_ERROR))] = {
        "description": "A fault in the service.",
        "content": _error(described),
    }
    return responses


def _others(described: Operation) -> dict[str, Any]:
    """What a success may come as, besides JSON."""
    csv = {CSV_MEDIA_TYPE: {"schema": {"type": "string"}}}
    return (_EVENTS if described.events else {}) | (csv if described.csv else {})


def _refusals(described: Operation) -> dict[str, Any]:
    """For who brings no identity, and for whose identity does not do."""
    challenge = {"WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}}}
    return {
        str(int(HTTPStatus.UNAUTHORIZED)): {
            "description": "Nobody knows who asks. Without tenants the platform answers, with a"
            " text or nothing.",
            "headers": challenge,
            "content": _error(described) | {"text/plain": {"schema": {"type": "string"}}},
        },
        str(int(HTTPStatus.FORBIDDEN)): {
            "description": "Who asks may not.",
            "content": _error(described),
        },
    }


def _error(described: Operation) -> dict[str, Any]:
    if described.error_model is not None:
        return _content(described.error_model)
    return {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}}


def _form(fields: dict[str, dict[str, Any]]) -> dict[str, Any]:
    schema = {"type": "object", "properties": fields, "required": list(fields)}
    return {"multipart/form-data": {"schema": schema}}


def _content(model: type[BaseModel] | str) -> dict[str, Any]:
    if model == ANY_BYTES:
        return {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    schema = {"$ref": _REF.format(model=_name(model))} if isinstance(model, type) else {}
    return {"application/json": {"schema": schema}}
