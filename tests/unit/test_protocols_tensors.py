"""Tensors as nested lists and as bytes: what goes in comes out, and what fits nowhere is told."""

from __future__ import annotations

import math
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from endpoints.protocols.tensor_bytes import (
    DATATYPES,
    NotElements,
    from_base64,
    pack,
    pack_bytes,
    to_base64,
    unpack,
    unpack_bytes,
)
from endpoints.protocols.tensor_lists import NotATensor, count, flat, is_shape, nested

shapes = st.lists(st.integers(min_value=1, max_value=4), min_size=1, max_size=4)

INTEGERS = {
    "UINT8": (0, 2**8 - 1), "UINT16": (0, 2**16 - 1), "UINT32": (0, 2**32 - 1),
    "UINT64": (0, 2**64 - 1), "INT8": (-(2**7), 2**7 - 1), "INT16": (-(2**15), 2**15 - 1),
    "INT32": (-(2**31), 2**31 - 1), "INT64": (-(2**63), 2**63 - 1),
}  # fmt: skip

# Values that the datatype holds exactly. BF16 is the upper half of FP32.
ELEMENTS: dict[str, st.SearchStrategy[JsonValue]] = {
    "BOOL": st.booleans(),
    **{name: st.integers(low, high) for name, (low, high) in INTEGERS.items()},
    "FP16": st.floats(width=16, allow_nan=False, allow_infinity=False),
    "BF16": st.integers(0, 0xFFFF)
    .map(lambda half: struct.unpack("<f", struct.pack("<I", half << 16))[0])
    .filter(math.isfinite),
    "FP32": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "FP64": st.floats(allow_nan=False, allow_infinity=False),
}


def test_every_datatype_is_tried() -> None:
    assert {*ELEMENTS, "BYTES"} == DATATYPES


@given(shape=shapes, data=st.data())
def test_lists_flattened_and_nested_are_what_they_were(
    shape: list[int], data: st.DataObject
) -> None:
    elements = data.draw(st.lists(st.integers(), min_size=count(shape), max_size=count(shape)))
    tensor = nested(list(elements), shape)
    assert isinstance(tensor, list)
    assert flat(tensor) == (elements, shape)


@pytest.mark.parametrize(
    ("elements", "shape", "tensor"),
    [
        ([1, 2, 3, 4], [2, 2], [[1, 2], [3, 4]]),
        ([1, 2, 3, 4], [4], [1, 2, 3, 4]),
        ([1, 2, 3, 4], [1, 4, 1], [[[1], [2], [3], [4]]]),
        ([7], [], 7),
        ([], [0], []),
        ([], [0, 3], []),
        ([], [10**12, 0], []),
    ],
)
def test_nesting(elements: list[JsonValue], shape: list[int], tensor: JsonValue) -> None:
    assert nested(elements, shape) == tensor


@pytest.mark.parametrize("shape", [[3], [2, 3], [], [-1], [-2, -2], [0], [10**12, 10**12]])
def test_a_shape_that_holds_another_number_of_elements(shape: list[int]) -> None:
    with pytest.raises(NotATensor):
        nested([1, 2, 3, 4], shape)


@pytest.mark.parametrize("tensor", [[[1], [1, 2]], [[1], 2], [1, [2]], [[[1]], [1]], [[], [1]]])
def test_ragged_lists(tensor: list[JsonValue]) -> None:
    with pytest.raises(NotATensor):
        flat(tensor)


def test_lists_nested_beyond_reason_are_survived() -> None:
    tensor: list[JsonValue] = [1]
    for _ in range(100_000):
        tensor = [tensor]
    elements, shape = flat(tensor)
    assert (elements, len(shape)) == ([1], 100_001)


@pytest.mark.parametrize("value", [None, 3, [1.5], ["1"], [True], [[1]], {}])
def test_what_is_no_shape(value: JsonValue) -> None:
    assert not is_shape(value)


@pytest.mark.parametrize("datatype", sorted(ELEMENTS))
@given(data=st.data())
def test_elements_packed_and_unpacked_are_what_they_were(
    datatype: str, data: st.DataObject
) -> None:
    values = data.draw(st.lists(ELEMENTS[datatype], max_size=20))
    packed = pack(datatype, values)
    assert unpack(datatype, packed, len(values)) == values
    with pytest.raises(NotElements):
        unpack(datatype, packed, len(values) + 1)
    with pytest.raises(NotElements):
        unpack(datatype, packed + b"\0", len(values))


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_bytes_packed_and_unpacked_are_what_they_were(values: list[bytes]) -> None:
    assert unpack_bytes(pack_bytes(values), len(values)) == values
    assert from_base64(to_base64(values)) == values
    with pytest.raises(NotElements):
        unpack_bytes(pack_bytes(values), len(values) + 1)


@given(st.binary(max_size=40), st.integers(0, 5))
def test_unpacking_any_bytes_ends(data: bytes, number: int) -> None:
    with suppress(NotElements):
        assert pack_bytes(unpack_bytes(data, number)) == data


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=10), max_size=10))
def test_texts_are_packed_as_utf_8(values: list[JsonValue]) -> None:
    packed = pack("BYTES", values)
    assert [value.decode() for value in unpack_bytes(packed, len(values))] == values


@pytest.mark.parametrize(
    ("datatype", "values", "packed"),
    [
        ("BOOL", [True, False], "0100"),
        ("INT16", [-2, 258], "feff0201"),
        ("UINT32", [1], "01000000"),
        ("FP16", [1, -2.0, 65504], "003c00c0ff7b"),
        ("BF16", [1, -2.0], "803f00c0"),
        ("FP32", [1], "0000803f"),
        ("FP64", [1], "000000000000f03f"),
        ("BYTES", ["é", ""], "02000000c3a900000000"),
    ],
)
def test_bytes_on_the_wire(datatype: str, values: list[JsonValue], packed: str) -> None:
    assert pack(datatype, values).hex() == packed


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        (1.00390625, 1.0),  # half-way between two: to the even one
        (1.01171875, 1.015625),
        (1.004, 1.0078125),
        (-1.004, -1.0078125),
    ],
)
def test_bf16_rounds_to_the_nearest(value: float, rounded: float) -> None:
    (unpacked,) = unpack("BF16", pack("BF16", [value]), 1)
    assert unpacked == pytest.approx(rounded, rel=1e-7)


@given(st.floats(min_value=-3e38, max_value=3e38))
def test_bf16_is_within_its_precision(value: float) -> None:
    (unpacked,) = unpack("BF16", pack("BF16", [value]), 1)
    assert unpacked == pytest.approx(value, rel=2**-8, abs=1e-38)


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        *((name, low - 1) for name, (low, _) in INTEGERS.items()),
        *((name, high + 1) for name, (_, high) in INTEGERS.items()),
        ("INT32", 1.0), ("INT32", True), ("INT32", "1"), ("INT32", None), ("INT32", {}),
        ("BOOL", 1), ("BOOL", "true"), ("BYTES", 1), ("BYTES", "\ud83d"), ("FP32", "1"),
        ("FP32", True), ("FP32", 1e39), ("FP32", 10**400), ("FP64", 10**400), ("FP16", 65520.0),
        ("BF16", 1e39), ("BF16", 3.4e38), ("BF16", 10**400),
    ],
)  # fmt: skip
def test_values_that_a_datatype_cannot_hold(datatype: str, value: JsonValue) -> None:
    with pytest.raises(NotElements):
        pack(datatype, [value])


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP32", "FP64"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_no_answer(datatype: str, value: float) -> None:
    with pytest.raises(NotElements):
        unpack(datatype, pack(datatype, [1.5, value]), 2)


@pytest.mark.parametrize("datatype", ["", "None", "FP128", "int64"])
def test_an_unknown_datatype_is_not_unpacked(datatype: str) -> None:
    with pytest.raises(NotElements):
        unpack(datatype, b"", 0)


@pytest.mark.parametrize("value", ["a", "é", "aGk", "aG k=", 1, None])
def test_what_is_not_base64(value: JsonValue) -> None:
    with pytest.raises(NotElements):
        from_base64([value])
