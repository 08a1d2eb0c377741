"""A whole input file: all its problems, or slices that hold each line once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches import planning
from batches.lines import LineChecker
from batches.planning import Findings, plan
from tests.unit.lines_fakes import CHAT, chat_file, chat_line, chopped, cut_all, jsonl, streamed


async def planned(data: bytes, places: Any = ()) -> Findings:
    checker = LineChecker(CHAT, {"chat": 1}, [])
    return await plan(streamed(chopped(data, places)), checker)


def codes(findings: Findings) -> list[tuple[str, int | None]]:
    return [(problem.code, problem.line) for problem in findings.problems]


async def test_a_good_file_is_one_slice_of_all_its_lines():
    data = chat_file(3)
    findings = await planned(data)
    assert findings.found == 0
    assert findings.plan.model == "chat"
    [piece] = findings.plan.slices
    assert (piece.offset, piece.length, piece.first_line, piece.lines) == (0, len(data), 1, 3)


empty = st.sampled_from([b"", b"\n", b"\r\n", b"  \n", b"\n\n\n"])
line_break = st.sampled_from([b"\n", b"\r\n"])


@given(
    around=st.lists(st.tuples(empty, line_break), min_size=1, max_size=40),
    bom=st.booleans(),
    ends=st.booleans(),
    most_lines=st.integers(1, 7),
    most_bytes=st.integers(100, 2000),
    places=st.lists(st.integers(0, 8000), max_size=10),
)
def test_slices_hold_each_line_once_and_read_alone_give_the_same(
    around, bom, ends, most_lines, most_bytes, places
):
    """`around`: the empty lines before each line, and its line break; the last may have none."""
    lines = [jsonl(chat_line(f"r{n}")).rstrip() for n in range(len(around))]
    data = b"\xef\xbb\xbf" * bom + b"".join(
        before + line + after for (before, after), line in zip(around, lines, strict=True)
    )
    data = data if ends else data.rstrip()

    async def run() -> None:
        with pytest.MonkeyPatch.context() as limits:
            limits.setattr(planning, "SLICE_LINES", most_lines)
            limits.setattr(planning, "SLICE_BYTES", most_bytes)
            findings = await planned(data, places)
        assert findings.found == 0
        read = []
        for piece in findings.plan.slices:
            assert piece.lines <= most_lines
            assert piece.length <= most_bytes or piece.lines == 1
            text = data[piece.offset :][: piece.length]
            found = await cut_all([text], piece.offset, piece.first_line)
            full = [line for line in found if not line.empty]
            assert len(full) == piece.lines
            read += full
        whole = await cut_all([data])
        assert read == [line for line in whole if not line.empty]
        assert findings.plan.lines == len(lines)

    asyncio.run(run())


@pytest.mark.parametrize("data", [b"", b"\n\r\n  \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
async def test_a_file_without_lines(data):
    findings = await planned(data)
    assert codes(findings) == [("empty_batch", None)]


async def test_line_numbers_count_empty_lines():
    data = b"\n\r\n" + jsonl(chat_line("a")) + b"\nnot json\n"
    assert codes(await planned(data)) == [("invalid_json_line", 5)]


async def test_each_bad_line_is_told_and_all_are_counted():
    data = jsonl(chat_line("a"), chat_line("a"), chat_line("b", url="/v1/x"), chat_line("c"))
    findings = await planned(data + b"{\n")
    assert codes(findings) == [
        ("duplicate_custom_id", 2),
        ("url_mismatch", 3),
        ("invalid_json_line", 5),
    ]


async def test_of_many_problems_the_first_hundred_are_kept():
    findings = await planned(b"{\n" * 250)
    assert findings.found == 250
    assert codes(findings)[-1] == ("invalid_json_line", 100)


async def test_a_file_of_too_many_lines_is_read_no_further(monkeypatch):
    monkeypatch.setattr(planning, "MOST_LINES", 3)
    assert codes(await planned(chat_file(3))) == []
    assert codes(await planned(chat_file(4) + b"{\n")) == [("too_many_tasks", 4)]


async def test_a_line_larger_than_a_slice_is_one_by_itself(monkeypatch):
    monkeypatch.setattr(planning, "SLICE_BYTES", 400)
    body = {"model": "chat", "messages": ["x" * 1000]}
    data = jsonl(chat_line("a"), chat_line("b", body=body), chat_line("c"))
    assert [piece.lines for piece in (await planned(data)).plan.slices] == [1, 1, 1]
