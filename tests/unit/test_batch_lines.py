"""Lines of an input file: cut the same however they arrive, and each fault told with its code."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.lines import MOST_LINE_BYTES, LineChecker, RawLine
from contracts.batches import LineProblem
from tests.unit.lines_fakes import CHAT, chat_line, chopped, cut_all, job_line

MOST = 12
contents = st.lists(
    st.sampled_from([b"a", b"b", b"\n", b"\n\n", b"\r\n", b"\r", b"\xef\xbb\xbf", b"\xff", b" "])
    | st.binary(max_size=20),
    max_size=20,
).map(b"".join)
places = st.lists(st.integers(0, 200), max_size=20)


def expected(data: bytes, most: int) -> list[RawLine]:
    """Line by line, with nothing but split."""
    lines: list[RawLine] = []
    offset = 0
    texts = data.split(b"\n")
    for number, text in enumerate(texts, start=1):
        end = offset + len(text) + (number < len(texts))
        if number == len(texts) and not text:
            break  # what follows the last line break is no line
        if len(text) > most:
            lines.append(RawLine(number, offset, b"", end, too_long=True))
        else:
            plain = text.removeprefix(b"\xef\xbb\xbf") if number == 1 else text
            lines.append(RawLine(number, offset, plain.removesuffix(b"\r"), end))
        offset = end
    return lines


@given(data=contents, places=places)
def test_lines_are_the_same_however_they_arrive(data, places):
    assert asyncio.run(cut_all(chopped(data, places), most=MOST)) == expected(data, MOST)


@given(data=contents, places=places, first=st.integers(0, 30), count=st.integers(1, 30))
def test_any_run_of_lines_read_by_its_offset_gives_the_same_lines(data, places, first, count):
    whole = expected(data, MOST)
    run = whole[first : first + count]
    if not run:
        return
    begin, end = run[0].offset, run[-1].end
    pieces = chopped(data[begin:end], places)
    assert asyncio.run(cut_all(pieces, begin, run[0].number, MOST)) == run


async def test_a_line_of_10_mb_is_too_long_and_the_next_is_a_line_again():
    data = b'{"a": "' + b"x" * 10_000_000 + b'"}\n{}\n'
    pieces = chopped(data, range(0, len(data), 65_536))
    long, short = await cut_all(pieces)
    assert (long.too_long, long.text) == (True, b"")
    assert (short.number, short.text) == (2, b"{}")


async def test_the_longest_line_is_taken_with_its_line_break():
    data = b"x" * MOST_LINE_BYTES + b"\n"
    [line] = await cut_all([data])
    assert len(line.text) == MOST_LINE_BYTES
    [line] = await cut_all([b"x" + data])
    assert line.too_long


# Checks.


def checker(endpoint: str = CHAT) -> LineChecker:
    return LineChecker(endpoint, {"chat": 1, "embed": 1}, ["f", "g"])


def check(text: bytes, checks: LineChecker | None = None, number: int = 7) -> LineProblem | None:
    return (checks or checker()).check(RawLine(number, 0, text, len(text)))


def checked(*lines: dict[str, Any], endpoint: str = CHAT) -> list[LineProblem | None]:
    checks = checker(endpoint)
    return [check(json.dumps(line).encode(), checks, n) for n, line in enumerate(lines, start=1)]


def test_a_good_line_has_no_problem_and_names_the_batchs_model():
    checks = checker()
    assert check(json.dumps(chat_line("a")).encode(), checks) is None
    assert checks.model == "chat"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "not JSON"),
        (b'{"custom_id": "a"} {}', "not JSON"),
        (b'{"custom_id": NaN}', "not JSON"),
        (b'{"custom_id": "\\ud800"}', "not JSON"),
        (b"[" * 5000, "not JSON"),
        (b'{"custom_id": "\xff"}', "not UTF-8"),
        ("ÿ".encode("utf-16"), "not UTF-8"),
        (b"[1]", "no object"),
        (b"null", "no object"),
    ],
)
def test_what_is_no_json_object(text, said):
    problem = check(text)
    assert problem is not None
    assert (problem.code, problem.line) == ("invalid_json_line", 7)
    assert said in problem.message


def test_a_line_over_the_limit():
    problem = checker().check(RawLine(3, 0, b"", 10, too_long=True))
    assert problem is not None
    assert (problem.code, problem.line) == ("invalid_json_line", 3)
    assert "8,388,608" in problem.message


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"custom_id": ""}, "invalid_request", "custom_id"),
        ({"custom_id": 7}, "invalid_request", "custom_id"),
        ({"custom_id": "x" * 513}, "invalid_request", "custom_id"),
        ({"method": "GET"}, "invalid_request", "method"),
        ({"method": "post"}, "invalid_request", "method"),
        ({"body": []}, "invalid_request", "body"),
        ({"priority": 1}, "invalid_request", "priority"),
        ({"not_json": 1}, "invalid_request", "not_json"),
        ({"url": "/v1/embeddings"}, "url_mismatch", "url"),
        ({"url": "http://elsewhere/v1/chat/completions"}, "url_mismatch", "url"),
        ({"body": {"messages": []}}, "invalid_request", "body.model"),
        ({"body": {"model": 3}}, "invalid_request", "body.model"),
        ({"body": {"model": "gpt-9"}}, "model_not_found", "body.model"),
        ({"body": {"model": "chat", "stream": True}}, "invalid_request", "body.stream"),
    ],
)
def test_a_wrong_field_is_told_by_code_line_and_name(changes, code, param):
    [problem] = checked(chat_line("a", **changes))
    assert problem is not None
    assert (problem.code, problem.line, problem.param) == (code, 1, param)


@pytest.mark.parametrize("name", ["custom_id", "method", "url", "body"])
def test_a_missing_field(name):
    line = chat_line("a")
    del line[name]
    [problem] = checked(line)
    assert problem is not None
    assert (problem.code, problem.param) == ("invalid_request", name)


def test_a_long_name_of_the_callers_is_cut_short():
    [problem] = checked(chat_line("a", **{"x" * 10_000: 1}))
    assert problem is not None
    assert len(problem.model_dump_json()) < 400


def test_a_second_line_of_the_same_id():
    first, second = checked(chat_line("a"), chat_line("a"))
    assert first is None
    assert second is not None
    assert (second.code, second.line) == ("duplicate_custom_id", 2)


def test_a_batch_asks_one_model_and_says_which_line_named_it():
    wrong = chat_line("a", url="/v1/embeddings")
    other = chat_line("c", body={"model": "embed", "messages": []})
    _, named, mismatch = checked(wrong, chat_line("b"), other)
    assert named is None
    assert mismatch is not None
    assert (mismatch.code, mismatch.line) == ("model_mismatch", 3)
    assert "line 2 asks chat" in mismatch.message


def test_a_pinned_version_is_a_model_of_its_own():
    pinned = chat_line("a", body={"model": "chat@2", "messages": []})
    first, second = checked(pinned, chat_line("b"))
    assert first is None
    assert second is not None
    assert second.code == "model_mismatch"


def test_an_unknown_model_is_told_of_each_line():
    lines = [chat_line(f"r{n}", body={"model": "gpt-9"}) for n in range(3)]
    assert [problem.code for problem in checked(*lines) if problem] == ["model_not_found"] * 3


# Lines that are jobs.


def test_jobs_of_any_flows_are_one_batch():
    assert checked(job_line("a"), job_line("b", flow="g"), endpoint="/v1/jobs") == [None, None]


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"flow": "unknown"}, "invalid_request", "body.flow"),
        ({"flow": ""}, "invalid_request", "body.flow"),
        ({"input": "text"}, "invalid_request", "body.input"),
        ({"colour": "red"}, "invalid_request", "body.colour"),
        ({"model": "gpt-9"}, "model_not_found", "body.model"),
        ({"execution": "at_most_once"}, "invalid_request", "body.execution"),
        ({"deadline": "PT10M"}, "invalid_request", "body.deadline"),
        ({"reply_to": "team-replies"}, "invalid_request", "body.reply_to"),
    ],
)
def test_what_a_line_cannot_be_as_a_job(changes, code, param):
    [problem] = checked(job_line("a", **changes), endpoint="/v1/jobs")
    assert problem is not None
    assert (problem.code, problem.param) == (code, param)
