"""Requests of every kind that openapi.json allows, and of kinds that it forbids.

What comes back has a status and a shape that the document names, and is no fault of the service.
"""

from __future__ import annotations

import json
from io import BytesIO

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.errors import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from urllib3 import HTTPResponse

from tests.unit.indexed import indexed
from triggers.openapi import document

EXAMPLES = 15
"""Of each operation and kind."""
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
CHECKS_OF_A_STREAM = CHECKS[:2]
"""The document says what a stream is as a whole; the checker takes that for each of its events."""

assert indexed()  # the doors are imported, and so described
load_all_checks()
DOCUMENT = json.loads(document())
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {each.ok().label: each.ok() for each in SCHEMA.get_all_operations()}


def test_the_document_that_is_served(stack):
    served = requests.get(f"{stack.http}/openapi.json", timeout=120)
    assert served.json() == DOCUMENT


@pytest.fixture(scope="module")
def session(stack):
    with requests.Session() as made:
        made.headers["x-functions-key"] = stack.api_key
        yield made


@pytest.fixture(scope="module")
async def known(stack, client) -> dict[str, list[str]]:
    """Names that are there, by the parameters and fields that take them."""
    lines = b'{"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {}}'
    file = await client.files.create(file=("lines.jsonl", lines), purpose="batch")
    batch = await client.batches.create(
        input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h"
    )
    job = await client.post(
        "/jobs", body={"flow": "embed", "input": {"text": "Hi"}}, cast_to=object
    )
    return {
        "batch_id": [batch.id],
        "file_id": [file.id],
        "flow": ["embed", "summarize"],
        "input_file_id": [file.id],
        "job_id": [job["id"]],
        "model": ["good", "full", "rejecting", "summarize", "classify"],
        "name": ["steered-1"],
    }


def aimed(case, known: dict[str, list[str]], data: st.DataObject) -> None:
    """Half of what would name nothing names something that is there."""
    body = case.body if isinstance(case.body, dict) else {}
    for fields in (case.path_parameters or {}, body):
        for name in sorted(fields.keys() & known.keys()):
            if data.draw(st.booleans()):
                fields[name] = data.draw(st.sampled_from(known[name]))


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("label", OPERATIONS)
def test_an_operation(stack, session, known, label, mode):
    operation = OPERATIONS[label]
    if mode is GenerationMode.NEGATIVE and not (operation.path_parameters or operation.body):
        mode = GenerationMode.POSITIVE  # nothing of it can be wrong

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    def each(case, data):
        aimed(case, known, data)
        answer = case.call(base_url=stack.http, session=session, timeout=180)
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        streamed = "text/event-stream" in str(answer.headers.get("content-type"))
        case.validate_response(answer, checks=CHECKS_OF_A_STREAM if streamed else CHECKS)

    each()


@pytest.mark.parametrize(
    ("status", "content_type", "body", "found"),
    [
        (418, "application/json", b"{}", "Undocumented status code"),
        (200, "text/html", b"{}", "Undocumented Content-Type"),
        (200, "application/json", b'{"object": "list"}', "Response violates schema"),
    ],
)
def test_the_checks_themselves(status, content_type, body, found):
    """That they find what they are there to find."""
    request = requests.Request("GET", "http://localhost/v1/models").prepare()
    headers = {"content-type": content_type}
    raw = HTTPResponse(BytesIO(body), headers, status, preload_content=False)
    answer = HTTPAdapter().build_response(request, raw)
    case = OPERATIONS["GET /v1/models"].Case()
    with pytest.raises(FailureGroup) as raised:
        case.validate_response(answer, checks=CHECKS)
    assert found in str([failure.title for failure in raised.value.exceptions])
