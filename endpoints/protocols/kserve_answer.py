"""What comes back in the KServe v2 protocol: JSON, perhaps with binary outputs behind it."""

from __future__ import annotations

from pydantic import JsonValue

from contracts.calls import JsonObject
from endpoints import json_body
from endpoints.json_body import NotJson
from endpoints.protocols.tensor_bytes import NotElements, to_base64, unpack, unpack_bytes
from endpoints.protocols.tensor_lists import NotATensor, count, flat, is_shape, nested


def inference_answer(body: bytes, json_size: str | None) -> JsonValue:
    """The answer as JSON, each output's `data` nested as its `shape` says.

    `json_size` is the header that tells binary outputs, None when there are none. BYTES that are
    not UTF-8 come in base64, with `"parameters": {"content_type": "base64"}`. Raises NotJson for
    what is not of the protocol, and for NaN and infinities.
    """
    size = len(body) if json_size is None else _size(json_size)
    document = json_body.decode(body[:size])
    outputs = document.get("outputs") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(outputs, list):
        return document
    try:
        return {**document, "outputs": _read(outputs, body[size:])}
    except (NotATensor, NotElements):
        raise NotJson from None


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise NotJson
    return int(text)


def _read(outputs: list[JsonValue], rest: bytes) -> list[JsonValue]:
    read: list[JsonValue] = []
    at = 0
    for output in outputs:
        shape = output.get("shape") if isinstance(output, dict) else None
        if not isinstance(output, dict) or not is_shape(shape):
            raise NotATensor
        parameters = output.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if type(size) is int and size >= 0:
            read.append(_from_binary(output, shape, rest[at : at + size]))
            at += size
        else:
            read.append(_from_json(output, shape))
    if at != len(rest):
        raise NotElements
    return read


def _from_json(output: JsonObject, shape: list[int]) -> JsonObject:
    data = output.get("data")
    if not isinstance(data, list):
        raise NotATensor
    elements, _ = flat(data)
    return {**output, "data": nested(elements, shape)}


def _from_binary(output: JsonObject, shape: list[int], data: bytes) -> JsonObject:
    described = dict(output)
    parameters = described.pop("parameters")
    kept = dict(parameters) if isinstance(parameters, dict) else {}
    del kept["binary_data_size"]
    datatype = str(output.get("datatype"))
    if datatype == "BYTES":
        elements, encoding = _texts(unpack_bytes(data, count(shape)))
        kept |= encoding
    else:
        elements = unpack(datatype, data, count(shape))
    return {**described, "data": nested(elements, shape), **({"parameters": kept} if kept else {})}


def _texts(values: list[bytes]) -> tuple[list[JsonValue], JsonObject]:
    """As text, all or none, and what is to be said of them otherwise."""
    try:
        return [value.decode() for value in values], {}
    except UnicodeDecodeError:
        return to_base64(values), {"content_type": "base64"}
