"""Triton and the KServe v2 protocol. The errors are those that Triton 2.51 and MLServer give."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from pydantic import JsonValue, ValidationError

from contracts.calls import JsonObject, ModelCall, Task, Usage
from contracts.errors import InvalidRequest
from endpoints.json_body import NotJson
from endpoints.protocols import DeploymentProtocol, speak
from endpoints.protocols.triton import TritonSettings
from endpoints.verdicts import DEFAULT_WAIT
from endpoints.wire import Reply, Request
from tests.unit.endpoints_fakes import NOON, model_error, reply

JSON_SIZE = "inference-header-content-length"


def triton(**fields: object) -> DeploymentProtocol:
    given = {"name": "d", "protocol": "triton", "url": "http://t:8000", "model": "m", **fields}
    return speak(TritonSettings.model_validate(given))


def score(protocol: DeploymentProtocol, payload: JsonValue) -> Request:
    return protocol.request(ModelCall("m", Task.SCORE, payload))


def sent(protocol: DeploymentProtocol, payload: JsonValue) -> JsonValue:
    return json.loads(score(protocol, payload).body)


def tensor(name: str = "x", **fields: JsonValue) -> JsonObject:
    return {"name": name, "shape": [1, 2], "datatype": "FP32", "data": [[1.5, 2]], **fields}


# Where it is asked.


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        ({}, "http://t:8000/v2/models/m"),
        ({"model_version": 3}, "http://t:8000/v2/models/m/versions/3"),
        ({"model_version": "3"}, "http://t:8000/v2/models/m/versions/3"),
        ({"url": "https://gateway/team/"}, "https://gateway/team/v2/models/m"),
        ({"model": "text.encoder-2"}, "http://t:8000/v2/models/text.encoder-2"),
    ],
)
def test_addresses(fields: dict[str, object], address: str) -> None:
    protocol = triton(**fields)
    request = score(protocol, {"x": [1]})
    assert (str(request.url), request.method) == (f"{address}/infer", "POST")
    health = protocol.health()
    assert health is not None
    assert (str(health.url), health.method, health.body) == (f"{address}/ready", "GET", b"")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"url": "http://t:8000/v2"}, "url to end before /v2"),
        ({"url": "http://t:8000/v2/models/m/infer"}, "url to end before /v2"),
        ({"datatypes": {"x": "FP16"}}, "binary: true, since JSON cannot carry FP16 and BF16"),
        ({"datatypes": {"x": "float"}}, "'FP32'"),
        ({"model": "../admin"}, "pattern"),
        ({"model": ".."}, "pattern"),
        ({"model_version": "1/x"}, "pattern"),
    ],
)
def test_settings_that_cannot_work(fields: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected.replace(".", r"\.")):
        triton(**fields)


def test_it_scores_and_nothing_else() -> None:
    assert triton().tasks == {Task.SCORE}
    assert triton().authorization("secret") == ("authorization", "Bearer secret")
    assert triton().usage({"model_name": "m", "outputs": []}) == Usage(requests=1)


# What goes out in JSON.


@pytest.mark.parametrize(
    "payload",
    [
        {"inputs": [tensor()]},
        {"id": "7", "inputs": [tensor("a"), tensor("b")], "outputs": [{"name": "y"}]},
        {"inputs": [tensor()], "parameters": {"sequence_id": 3, "sequence_start": True}},
        {"inputs": []},
    ],
)
def test_a_request_of_the_protocol_goes_out_as_it_is(payload: JsonValue) -> None:
    assert sent(triton(), payload) == payload


@pytest.mark.parametrize(
    ("value", "datatype", "shape", "data"),
    [
        ([True, False], "BOOL", [2], [True, False]),
        ([[1], [-2]], "INT64", [2, 1], [1, -2]),
        ([[1.5, 2]], "FP64", [1, 2], [1.5, 2]),
        ([["é", ""]], "BYTES", [1, 2], ["é", ""]),
    ],
)
def test_a_plain_payload_tells_datatype_and_shape(
    value: JsonValue, datatype: str, shape: list[int], data: list[JsonValue]
) -> None:
    inputs = [{"name": "x", "shape": shape, "datatype": datatype, "data": data}]
    assert sent(triton(), {"x": value}) == {"inputs": inputs}


def test_the_settings_say_the_datatypes_of_plain_inputs() -> None:
    protocol = triton(datatypes={"x": "FP32", "empty": "INT8"})
    body = sent(protocol, {"x": [1], "empty": [], "other": [1]})
    assert isinstance(body, dict)
    assert [(each["name"], each["datatype"], each["shape"]) for each in body["inputs"]] == [
        ("x", "FP32", [1]),
        ("empty", "INT8", [0]),
        ("other", "INT64", [1]),
    ]


def test_a_plain_input_may_be_called_inputs() -> None:
    inputs = [{"name": "inputs", "shape": [1, 2], "datatype": "INT64", "data": [1, 2]}]
    assert sent(triton(), {"inputs": [[1, 2]]}) == {"inputs": inputs}


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        (None, "payload"), ([1], "payload"), ("text", "payload"), ({}, "payload"),
        ({"x": 1}, "payload.x"), ({"x": "text"}, "payload.x"), ({"x": None}, "payload.x"),
        ({"x": {"y": [1]}}, "payload.x"), ({"x": [[1], [1, 2]]}, "payload.x"),
        ({"x": [[1], 2]}, "payload.x"), ({"x": [1, "a"]}, "payload.x"),
        ({"x": [1, True]}, "payload.x"), ({"x": [None]}, "payload.x"),
        ({"x": [{"a": 1}]}, "payload.x"), ({"x": []}, "payload.x"), ({"x": [[]]}, "payload.x"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", [False, True])
def test_payloads_that_are_no_tensors(payload: JsonValue, field: str, form: bool) -> None:
    with pytest.raises(InvalidRequest) as raised:
        score(triton(binary=form), payload)
    assert [problem.field for problem in raised.value.problems] == [field]


# What goes out in binary form.


def test_a_binary_request() -> None:
    protocol = triton(binary=True, datatypes={"x": "FP16"})
    request = score(protocol, {"x": [[1, -2.0]], "text": ["é"]})
    assert request.headers["content-type"] == "application/octet-stream"
    size = int(request.headers[JSON_SIZE])
    assert json.loads(request.body[:size]) == {
        "inputs": [
            {
                "name": "x",
                "shape": [1, 2],
                "datatype": "FP16",
                "parameters": {"binary_data_size": 4},
            },
            {
                "name": "text",
                "shape": [1],
                "datatype": "BYTES",
                "parameters": {"binary_data_size": 6},
            },
        ],
        "parameters": {"binary_data_output": True},
    }
    assert request.body[size:].hex() == "003c00c0" + "02000000c3a9"


def test_named_outputs_are_asked_for_in_binary_form_one_by_one() -> None:
    payload = {
        "id": "7",
        "inputs": [tensor(parameters={"kept": 1})],
        "outputs": [{"name": "y"}, {"name": "z", "parameters": {"binary_data": False}}],
        "parameters": {"priority": 1},
    }
    request = score(triton(binary=True), payload)
    head = json.loads(request.body[: int(request.headers[JSON_SIZE])])
    assert head["outputs"] == [
        {"name": "y", "parameters": {"binary_data": True}},
        {"name": "z", "parameters": {"binary_data": False}},
    ]
    assert head["inputs"][0]["parameters"] == {"kept": 1, "binary_data_size": 8}
    assert (head["id"], head["parameters"]) == ("7", {"priority": 1})
    assert payload["inputs"][0]["parameters"] == {"kept": 1}  # the caller's own is left alone


def test_files_go_out_of_base64() -> None:
    image = tensor(
        datatype="BYTES", shape=[1], data=["/9j/"], parameters={"content_type": "base64"}
    )
    request = score(triton(binary=True), {"inputs": [image]})
    size = int(request.headers[JSON_SIZE])
    (described,) = json.loads(request.body[:size])["inputs"]
    assert described["parameters"] == {"binary_data_size": 7}
    assert request.body[size:] == b"\x03\0\0\0\xff\xd8\xff"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"datatype": "FP128"}, "datatype"), ({"datatype": None}, "datatype"),
        ({"shape": "1,2"}, "shape"), ({"shape": [1.0, 2]}, "shape"), ({"shape": None}, "shape"),
        ({"shape": [3]}, "data"), ({"shape": [-1, 2]}, "data"), ({"data": None}, "data"),
        ({"data": "1.5, 2"}, "data"), ({"data": [[1], 2]}, "data"), ({"data": ["a", "b"]}, "data"),
        ({"datatype": "INT8", "data": [1, 300]}, "data"),
        ({"datatype": "BYTES", "data": ["a", "b"], "parameters": {"content_type": "base64"}},
         "data"),
    ],
)  # fmt: skip
def test_inputs_that_cannot_be_packed(fields: JsonObject, field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        score(triton(binary=True), {"inputs": [tensor("a"), tensor("b", **fields)]})
    (problem,) = raised.value.problems
    assert problem.field == f"payload.inputs[1].{field}"


# What comes back.


def answer(document: JsonValue, *binaries: bytes, size: str | None = None) -> JsonValue:
    head = json.dumps(document).encode()
    headers: CIMultiDict[str] = CIMultiDict()
    if binaries or size is not None:
        headers["Inference-Header-Content-Length"] = str(len(head)) if size is None else size
    return triton().answer(Reply(200, headers, head + b"".join(binaries)))


def outputs(*tensors: JsonObject) -> JsonObject:
    return {"model_name": "m", "model_version": "1", "outputs": [*tensors]}


def test_data_comes_nested_as_the_shape_says() -> None:
    flat = outputs(tensor(shape=[2, 2], data=[1, 2, 3, 4]), tensor("y", shape=[0], data=[]))
    nested = outputs(tensor(shape=[2, 2], data=[[1, 2], [3, 4]]), tensor("y", shape=[0], data=[]))
    assert answer(flat) == nested
    assert answer(nested) == nested


def test_binary_outputs_are_read() -> None:
    described = [
        {"name": "y", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
        {"name": "t", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 10}},
        {"name": "j", "datatype": "INT8", "shape": [2], "data": [1, 2]},
        {"name": "f", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}},
    ]
    binaries = [struct.pack("<2f", 0.5, 2), b"\x02\0\0\0\xc3\xa9\0\0\0\0", b"\x01\0\0\0\xff"]
    assert answer({"model_name": "m", "outputs": described}, *binaries) == {
        "model_name": "m",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [[0.5, 2.0]]},
            {"name": "t", "datatype": "BYTES", "shape": [2], "data": ["é", ""]},
            {"name": "j", "datatype": "INT8", "shape": [2], "data": [1, 2]},
            {
                "name": "f",
                "datatype": "BYTES",
                "shape": [1],
                "data": ["/w=="],
                "parameters": {"content_type": "base64"},
            },
        ],
    }


@given(
    st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=2, max_size=2), min_size=1),
    st.lists(st.text(st.characters(codec="utf-8")), min_size=1),
)
def test_what_goes_out_in_binary_form_would_come_back(
    numbers: list[JsonValue], texts: list[JsonValue]
) -> None:
    protocol = triton(binary=True, datatypes={"n": "INT32"})
    request = score(protocol, {"n": numbers, "t": texts})
    size = int(request.headers[JSON_SIZE])
    head = json.loads(request.body[:size])
    back = json.dumps(outputs(*head["inputs"])).encode()
    headers = CIMultiDict({JSON_SIZE: str(len(back))})
    read = protocol.answer(Reply(200, headers, back + request.body[size:]))
    assert isinstance(read, dict)
    assert [each["data"] for each in read["outputs"]] == [numbers, texts]


BINARY = {"name": "y", "datatype": "INT8", "shape": [2], "parameters": {"binary_data_size": 2}}


@pytest.mark.parametrize(
    ("document", "binaries", "size"),
    [
        (outputs(BINARY), [b"1"], None),
        (outputs(BINARY), [b"123"], None),
        (outputs(BINARY | {"shape": [3]}), [b"12"], None),
        (outputs(BINARY | {"shape": [-2]}), [b"12"], None),
        (outputs(BINARY | {"datatype": "INT128"}), [b"12"], None),
        (outputs(BINARY | {"datatype": "BYTES"}), [b"12"], None),
        (outputs(BINARY), [b"12"], "-1"),
        (outputs(BINARY), [b"12"], "many"),
        (outputs(BINARY), [b"12"], "9" * 5000),
        (outputs(BINARY), [b"12"], "3"),
        (outputs(BINARY | {"parameters": {"binary_data_size": -2}}), [], None),
        (outputs(tensor(shape=[3])), [], None),
        (outputs(tensor(shape="2")), [], None),
        (outputs(tensor(data="1, 2")), [], None),
        (outputs(tensor(data=[[1], 2])), [], None),
        ({"outputs": ["y"]}, [], None),
        (outputs(tensor()), [b"left over"], None),
    ],
)
def test_answers_that_are_not_of_the_protocol(
    document: JsonValue, binaries: list[bytes], size: str | None
) -> None:
    with pytest.raises(NotJson):
        answer(document, *binaries, size=size)


def test_nan_is_no_answer_in_either_form() -> None:
    with pytest.raises(NotJson):
        answer(outputs(tensor(data=[float("nan"), 1])))
    nan = outputs(
        {"name": "y", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}}
    )
    with pytest.raises(NotJson):
        answer(nan, struct.pack("<f", float("nan")))


def test_an_answer_of_another_form_is_passed_on() -> None:
    assert answer({"predictions": [1]}) == {"predictions": [1]}


# What its errors mean.

REQUEST = "[request id: <id_unknown>] "


@pytest.mark.parametrize(
    ("status", "text", "outcome", "reason", "wait"),
    [
        (503, f"{REQUEST}Exceeds maximum queue size", "throttled", "queue full", DEFAULT_WAIT),
        (503, "Exceeds maximum queue size", "throttled", "queue full", DEFAULT_WAIT),
        (503, f"{REQUEST}Request timeout expired", "throttled", "timed out in the queue",
         DEFAULT_WAIT),
        (404, "Request for unknown model: 'nope' is not found", "unusable", "unknown model", None),
        (404, "Request for unknown model: 'add' version 9 is not found", "unusable",
         "unknown model", None),
        (400, "Request for unknown model: 'add' version 9 is not found", "unusable",
         "unknown model", None),
        (503, "Request for unknown model: 'add' version 1 is not at ready state", "failed",
         "model not ready", DEFAULT_WAIT),
        (400, "Model sklearn-iris is not ready yet.", "failed", "model not ready", DEFAULT_WAIT),
        (500, "failed to parse the request JSON buffer: Invalid value. at 11", "rejected",
         "request not understood", None),
        (500, "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'",
         "rejected", "request not understood", None),
        (500, "Unable to parse 'data': Shape does not match true shape of 'data' field",
         "rejected", "request not understood", None),
    ],
)  # fmt: skip
def test_refusals_that_only_the_text_tells(
    status: int, text: str, outcome: str, reason: str, wait: float | None
) -> None:
    verdict = triton().verdict(reply(status, {"error": text}), NOON)
    assert (verdict.outcome, verdict.reason) == (outcome, f"HTTP {status} ({reason})")
    assert verdict.wait == wait
    assert not verdict.may_have_run


def test_a_full_queue_is_left_alone_as_long_as_is_asked() -> None:
    full = reply(503, {"error": "Exceeds maximum queue size"}, retry_after="7")
    assert triton().verdict(full, NOON).wait == 7.0


@pytest.mark.parametrize(
    ("status", "text", "outcome", "may_have_run"),
    [
        (400, f"{REQUEST}inference input 'a' data-type is 'INT64', but model 'add' expects 'FP32'",
         "rejected", False),
        (400, f"{REQUEST}expected 2 inputs but got 1 inputs for model 'add'. Got input(s) ['a'],"
         " but missing required input(s) ['b']. Please provide all required input(s).",
         "rejected", False),
        (400, f"{REQUEST}unexpected shape for input 'b' for model 'add'. Expected [-1,-1], got"
         " [2].", "rejected", False),
        (400, "unexpected inference output 'qq' for model 'add'", "rejected", False),
        (400, "receiving FP16 data via JSON is not supported. Please use the binary data format"
         " for input FP16", "rejected", False),
        (404, "Not Found", "unusable", False),
        (405, "Method Not Allowed", "unusable", False),
        (500, "Failed to process the request(s) for model 'boom_0_0', message: TritonModelException"
         ": Model execute error: Traceback: RuntimeError: the prompt was: hello", "failed", True),
        (500, "Failed to process: Exceeds maximum queue size", "failed", True),
        (501, "unsupported", "failed", True),
        (503, "Server is not ready", "failed", True),
    ],
)  # fmt: skip
def test_other_errors_are_judged_by_their_status(
    status: int, text: str, outcome: str, may_have_run: bool
) -> None:
    verdict = triton().verdict(reply(status, {"error": text}), NOON)
    assert (verdict.outcome, verdict.may_have_run) == (outcome, may_have_run)
    assert verdict.reason == f"HTTP {status}"


@pytest.mark.parametrize(
    "body", [None, b"", b"<html>", b"\xff", b"[1]", b'{"error": {"code": 1}}', b'{"error": 3}']
)
def test_an_error_body_of_any_kind_is_survived(body: bytes | None) -> None:
    assert triton().verdict(Reply(503, {}, body), NOON).outcome == "failed"


def test_behind_azure_ml_the_containers_own_words_count() -> None:
    full = model_error(503, {"error": "Exceeds maximum queue size"})
    verdict = triton().verdict(full, NOON)
    assert (verdict.outcome, verdict.reason) == ("throttled", "HTTP 424 (queue full)")


@given(st.text(), st.sampled_from([400, 404, 500, 503]))
def test_no_text_of_an_error_leaves_the_verdict(text: str, status: int) -> None:
    said = f"Failed to process the request(s) for model 'm': {text}"
    assert triton().verdict(reply(status, {"error": said}), NOON).reason == f"HTTP {status}"
