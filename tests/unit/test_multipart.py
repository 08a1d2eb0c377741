"""Forms as they arrive: the same however they are cut, and refused when they are none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InvalidRequest, PayloadTooLarge
from tests.unit.http_fakes import asked
from tests.unit.lines_fakes import chopped
from triggers.http import Request
from triggers.multipart import MOST_FIELD_BYTES, parts

BOUNDARY = "simple boundary"
TYPE = f'multipart/form-data; boundary="{BOUNDARY}"'

type Found = list[tuple[str, str | None, bytes]]


def form(*fields: tuple[str, str | None, bytes]) -> bytes:
    """As a client sends it."""
    text = b""
    for name, filename, content in fields:
        file = f'; filename="{filename}"\r\nContent-Type: application/octet-stream'
        head = f'Content-Disposition: form-data; name="{name}"' + (file if filename else "")
        text += f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + b"\r\n"
    return text + f"--{BOUNDARY}--\r\n".encode()


def request(body: bytes, places: Any = (), content_type: str = TYPE) -> Request:
    headers = {"content-type": content_type}
    return Request(asked("POST", body=chopped(body, places), headers=headers))


async def read(req: Request) -> Found:
    return [
        (part.name, part.filename, b"".join([piece async for piece in part.pieces]))
        async for part in parts(req)
    ]


# What looks like a boundary, and is none.
contents = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"--", b"simple", b" boundary", b"\r\n--simple", b"\n--"])
    | st.binary(max_size=30),
    max_size=12,
).map(b"".join)
plain = contents.filter(lambda content: f"--{BOUNDARY}".encode() not in content)
fields = st.tuples(
    st.sampled_from(["purpose", "file", "x"]), st.none() | st.sampled_from(["in.jsonl", "ü"]), plain
)


@given(
    sent=st.lists(fields, min_size=1, max_size=4),
    places=st.lists(st.integers(0, 1000), max_size=30),
    epilogue=st.sampled_from([b"", b"\r\n", b"more"]),
)
def test_a_form_is_the_same_however_it_arrives(sent, places, epilogue):
    assert asyncio.run(read(request(form(*sent) + epilogue, places))) == sent


@given(sent=st.lists(fields, min_size=1, max_size=3), end=st.integers(1, 40))
def test_a_form_that_breaks_off_is_refused(sent, end):
    """For a file that was cut short would else be taken for whole."""
    whole = form(*sent)
    cut = whole[: -min(end + 3, len(whole) - 1)]  # the last line break may be missing, no more
    with pytest.raises(InvalidRequest):
        asyncio.run(read(request(cut)))


@given(body=st.binary(max_size=200), places=st.lists(st.integers(0, 200), max_size=5))
def test_whatever_comes_is_read_or_refused(body, places):
    try:
        asyncio.run(read(request(body, places)))
    except InvalidRequest as error:
        assert error.problems[0].field == "(body)"


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=b",
        f"multipart/form-data; boundary={'b' * 5000}",
    ],
)
async def test_what_is_no_form_by_its_type(content_type):
    with pytest.raises(InvalidRequest, match="content-type"):
        await read(request(form(("a", None, b"1")), content_type=content_type))


async def test_a_part_that_nobody_reads_is_passed_over():
    sent = form(("x", "big", b"x" * 100_000), ("purpose", None, b"batch"))
    found = [
        (part.name, await part.text() if part.name == "purpose" else None)
        async for part in parts(request(sent, range(0, 100_000, 999)))
    ]
    assert found == [("x", None), ("purpose", "batch")]


async def test_a_field_may_not_be_a_file_in_size_nor_anything_but_text():
    for content, error in (
        (b"x" * (MOST_FIELD_BYTES + 1), PayloadTooLarge),
        (b"\xff", InvalidRequest),
    ):
        with pytest.raises(error):
            async for part in parts(
                request(form(("purpose", None, content)), range(0, 70_000, 999))
            ):
                await part.text()


async def test_headers_without_end_are_refused():
    sent = form(("x", "y" * 100_000, b""))
    with pytest.raises(InvalidRequest):
        await read(request(sent, range(0, 100_000, 999)))
