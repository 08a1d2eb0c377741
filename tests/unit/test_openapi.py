"""The OpenAPI document tells of what the app serves, and of nothing else."""

import json

import pytest

from tests.unit.indexed import indexed
from triggers.openapi import build, document
from triggers.operation import OPERATIONS

NO_API = {"console/{*path}"}
"""What browsers are served."""


def served() -> set[tuple[str, str]]:
    found = set()
    for function in indexed():
        trigger = function.get_trigger()
        if trigger.get_binding_name() == "httpTrigger" and trigger.route not in NO_API:
            found |= {(method.value, f"/{trigger.route}") for method in trigger.methods}
    return found


def test_every_route_is_described_and_every_description_is_served():
    assert {(described.method, described.path) for described in OPERATIONS} == served()


def test_the_document_is_self_contained():
    text = document()
    schemas = json.loads(text)["components"]["schemas"]
    for reference in set(text.split('"#/components/schemas/')[1:]):
        assert reference.split('"')[0] in schemas


@pytest.mark.parametrize("described", OPERATIONS, ids=lambda op: f"{op.method} {op.path}")
def test_an_operation_names_its_path_parameters(described):
    in_path = {part[1:-1] for part in described.path.split("/") if part.startswith("{")}
    assert {p.name for p in described.parameters if p.place == "path"} == in_path


def test_a_job_request_is_described_with_its_limits():
    job_request = build(OPERATIONS)["components"]["schemas"]["JobRequest"]
    assert job_request["required"] == ["flow", "input"]
    assert job_request["additionalProperties"] is False
    assert job_request["properties"]["deadline"]["anyOf"][0]["examples"][0] == "PT10M"


@pytest.mark.parametrize(
    ("path", "streams"), [("/v1/chat/completions", True), ("/v1/embeddings", False)]
)
def test_what_may_come_as_events_says_so(path, streams):
    answer = build(OPERATIONS)["paths"][path]["post"]["responses"]["200"]
    assert ("text/event-stream" in answer["content"]) is streams
