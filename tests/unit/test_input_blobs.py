"""Which blobs may be named as inputs: those of one container, and by no other way in."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InvalidRequest, NotFound
from stores.input_blobs import InputBlobs
from tests.unit.fakes import MemoryContainer

AZURE = "https://account.blob.core.windows.net/batch-inputs"
AZURITE = "http://127.0.0.1:10000/devstoreaccount1/batch-inputs"


def inputs(url: str = AZURE) -> InputBlobs:
    return InputBlobs(cast(Any, MemoryContainer(name="batch-inputs", url=url)))


@pytest.mark.parametrize(
    ("container", "url", "name"),
    [
        (AZURE, f"{AZURE}/a.jsonl", "a.jsonl"),
        (AZURE, f"{AZURE}/team%20a/june/x%2By.jsonl", "team a/june/x+y.jsonl"),
        (AZURE, "https://ACCOUNT.blob.core.windows.net:443/batch-inputs/a", "a"),
        (AZURE, f"{AZURE}/sch%C3%B6n", "schön"),
        (AZURE, f"{AZURE}/...", "..."),
        (AZURITE, f"{AZURITE}/a.jsonl", "a.jsonl"),
    ],
)
def test_a_blob_of_the_container(container, url, name):
    assert inputs(container).name_of(url) == name


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.jsonl",
        "batch-inputs/a.jsonl",
        "http://account.blob.core.windows.net/batch-inputs/a",
        "https://account.blob.core.windows.net:8443/batch-inputs/a",
        "https://account.blob.core.windows.net:x/batch-inputs/a",
        "https://account.blob.core.windows.net:99999/batch-inputs/a",
        "https://other.blob.core.windows.net/batch-inputs/a",
        "https://account.blob.core.windows.net.evil.example/batch-inputs/a",
        "https://evil.example/https://account.blob.core.windows.net/batch-inputs/a",
        "https://account.blob.core.windows.net@evil.example/batch-inputs/a",
        "https://user:password@account.blob.core.windows.net/batch-inputs/a",
        "https://account.blob.core.windows.net/sluice-files/default/content/file-1",
        "https://account.blob.core.windows.net/batch-inputs-2/a",
        "http://169.254.169.254/metadata/instance",
        "file:///etc/passwd",
        "//account.blob.core.windows.net/batch-inputs/a",
        "https://[::1/batch-inputs/a",
        f"{AZURE}",
        f"{AZURE}/",
        f"{AZURE}//a",
        f"{AZURE}/a//b",
        f"{AZURE}/../sluice-files/default/content/file-1",
        f"{AZURE}/%2e%2e/sluice-files/a",
        f"{AZURE}/a/..%2f..%2fsluice-files/a",
        f"{AZURE}/a\\..\\..\\sluice-files",
        f"{AZURE}/./a",
        f"{AZURE}/a?sv=2024&sig=secret",
        f"{AZURE}/a#b",
        f"{AZURE}/" + "x" * 1025,
    ],
)
def test_anything_else_is_refused_and_told_what_was_expected(url):
    with pytest.raises(InvalidRequest) as refused:
        inputs().name_of(url)
    [problem] = refused.value.problems
    assert problem.field == "batch.input_blob"
    assert AZURE in problem.expected
    assert "secret" not in refused.value.detail


@given(
    name=st.text(min_size=1, max_size=60).filter(
        lambda name: not {"", ".", ".."} & set(name.replace("\\", "/").split("/"))
    )
)
def test_any_plain_name_is_found_by_its_url(name):
    assert inputs().name_of(f"{AZURE}/{quote(name)}") == name


@given(url=st.text(max_size=80) | st.text(max_size=40).map(f"{AZURE}/".__add__))
def test_whatever_is_named_it_is_a_plain_name_or_refused(url):
    try:
        name = inputs().name_of(url)
    except InvalidRequest:
        return
    assert not {"", ".", ".."} & set(name.replace("\\", "/").split("/"))


async def test_a_blob_that_is_not_there():
    with pytest.raises(NotFound, match="batch-inputs"):
        await inputs().look("a.jsonl")
