"""What goes out in the KServe v2 protocol: a payload as a request, in JSON or with binary tensors.

A payload is such a request already, or plain: `{"name": nested lists}`, whose datatypes and shapes
are found out. The binary form (the binary tensor data extension) is the request's JSON without the
elements, followed by the elements of each input in turn.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from contracts.calls import JsonObject
from endpoints import json_body
from endpoints.protocols.json_http import invalid
from endpoints.protocols.tensor_bytes import (
    DATATYPES,
    NotElements,
    from_base64,
    pack,
    pack_bytes,
)
from endpoints.protocols.tensor_lists import NotATensor, count, flat, is_shape

_DERIVED = (({bool}, "BOOL"), ({int}, "INT64"), ({int, float}, "FP64"), ({str}, "BYTES"))


def inference_request(payload: JsonValue, datatypes: Mapping[str, str]) -> JsonObject:
    """The payload in the form of the protocol. `datatypes` are those of plain inputs by name.

    Raises InvalidRequest for what is of neither form.
    """
    if not isinstance(payload, dict) or not payload:
        raise invalid("payload", 'a KServe v2 request, or {"name": nested lists}')
    inputs = payload.get("inputs")
    if isinstance(inputs, list) and all(isinstance(tensor, dict) for tensor in inputs):
        return payload
    return {
        "inputs": [_tensor(name, value, datatypes.get(name)) for name, value in payload.items()]
    }


def binary(request: JsonObject) -> tuple[bytes, int]:
    """A body with binary inputs that asks for binary outputs, and the size of its JSON.

    Elements of BYTES are text, or anything in base64 where the input says so, as MLServer has it:
    `"parameters": {"content_type": "base64"}`. Raises InvalidRequest.
    """
    tensors = [
        _binary_input(f"payload.inputs[{index}]", _object(tensor))
        for index, tensor in enumerate(_list(request.get("inputs")))
    ]
    described: JsonObject = {**request, "inputs": [tensor for tensor, _ in tensors]}
    if outputs := _list(request.get("outputs")):
        # Where outputs are named, the request's own parameter does not count.
        described["outputs"] = [_binary_output(_object(output)) for output in outputs]
    else:
        asked: JsonObject = {"binary_data_output": True}
        described["parameters"] = asked | _object(request.get("parameters"))
    head = json_body.encode(described)
    return b"".join([head, *(elements for _, elements in tensors)]), len(head)


def _tensor(name: str, value: JsonValue, datatype: str | None) -> JsonObject:
    field = f"payload.{name}"
    if not isinstance(value, list):
        raise invalid(field, "a list, of lists for each further dimension")
    try:
        elements, shape = flat(value)
    except NotATensor:
        raise invalid(field, "lists of one length in each dimension") from None
    datatype = datatype or _derived(field, elements)
    return {"name": name, "shape": [*shape], "datatype": datatype, "data": elements}


def _derived(field: str, elements: list[JsonValue]) -> str:
    found = {type(element) for element in elements}
    for types, datatype in _DERIVED:
        if found and found <= types:
            return datatype
    raise invalid(field, "numbers, texts or booleans alone, or a datatype in the settings")


def _binary_input(field: str, tensor: JsonObject) -> tuple[JsonObject, bytes]:
    datatype, shape, data = (tensor.get(name) for name in ("datatype", "shape", "data"))
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise invalid(f"{field}.datatype", f"one of {', '.join(sorted(DATATYPES))}")
    if not is_shape(shape):
        raise invalid(f"{field}.shape", "a list of whole numbers")
    if not isinstance(data, list):
        raise invalid(f"{field}.data", "a list")
    parameters = dict(_object(tensor.get("parameters")))
    in_base64 = datatype == "BYTES" and parameters.get("content_type") == "base64"
    if in_base64:
        del parameters["content_type"]
    packed = _packed(f"{field}.data", datatype, shape, data, in_base64)
    described = {name: value for name, value in tensor.items() if name != "data"}
    return described | {"parameters": parameters | {"binary_data_size": len(packed)}}, packed


def _packed(
    field: str, datatype: str, shape: list[int], data: list[JsonValue], in_base64: bool
) -> bytes:
    try:
        elements, _ = flat(data)
        if count(shape) != len(elements):
            raise NotATensor
        return pack_bytes(from_base64(elements)) if in_base64 else pack(datatype, elements)
    except NotATensor:
        raise invalid(field, "as many elements as its shape holds") from None
    except NotElements:
        raise invalid(field, "base64" if in_base64 else f"elements that {datatype} holds") from None


def _binary_output(output: JsonObject) -> JsonObject:
    asked: JsonObject = {"binary_data": True}
    return {**output, "parameters": asked | _object(output.get("parameters"))}


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}
