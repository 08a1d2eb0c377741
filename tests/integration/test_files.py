"""Files over the whole local stack, and their containers in a real Blob Storage (Azurite)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import uuid
from collections.abc import AsyncIterator
from urllib.parse import quote, urlsplit

import aiohttp
import pytest

from contracts.errors import Conflict, InvalidRequest, NotFound
from stores.blobs import Container, StorageAccount
from stores.input_blobs import InputBlobs
from tests.integration.batches_lab import Lab, batches_of, chat_lines
from tests.integration.batches_lab import lab as running_lab


@pytest.fixture(scope="module")
async def it(tmp_path_factory):
    async with running_lab(tmp_path_factory.mktemp("files")) as lab:
        yield lab


@pytest.fixture
async def container(it: Lab):
    async with StorageAccount(connection_string=it.stack.blob).open() as service:
        yield Container(lambda: service, f"test-{uuid.uuid4().hex}")


# The contract.


async def test_a_file_from_its_upload_to_its_removal(it: Lab):
    data = chat_lines(10)
    form = aiohttp.FormData({"purpose": "batch"}, quote_fields=False)
    form.add_field("file", data, filename="größe 1.jsonl")
    kept = await it.batches.call("POST", "/v1/files", data=form)
    assert kept["id"].startswith("file-")
    assert kept["object"] == "file"
    assert (kept["bytes"], kept["filename"]) == (len(data), "größe 1.jsonl")
    assert (kept["purpose"], kept["status"]) == ("batch", "processed")
    path = f"/v1/files/{kept['id']}"
    assert await it.batches.call("GET", path) == kept
    assert await it.batches.content(kept["id"]) == data
    gone = {"id": kept["id"], "object": "file", "deleted": True}
    assert await it.batches.call("DELETE", path) == gone
    for method, rest in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        error = await it.batches.call(method, path + rest, 404)
        assert error["error"]["code"] == "not_found"


async def test_files_are_listed_newest_first_and_by_purpose(it: Lab):
    mine = [(await it.batches.upload(b"{}", name=f"{n}"))["id"] for n in range(5)]
    batch = await it.batches.run(chat_lines(1))
    first = await it.batches.call("GET", "/v1/files", params={"limit": "2", "purpose": "batch"})
    assert first["has_more"]
    assert first["data"][0]["id"] == batch["input_file_id"]
    assert first["data"][1]["id"] == mine[-1]
    rest = await it.batches.call("GET", "/v1/files", params={"after": mine[-1]})
    assert [file["id"] for file in rest["data"]][:4] == mine[-2::-1]
    written = await it.batches.call("GET", "/v1/files", params={"purpose": "batch_output"})
    assert written["data"][0]["id"] == batch["output_file_id"]


async def test_a_file_of_many_megabytes_arrives_as_it_was(it: Lab):
    data = b"".join(hashlib.sha256(bytes([n % 251])).digest() * 1024 for n in range(700))
    assert len(data) > 20_000_000
    kept = await it.batches.upload(data)
    assert kept["bytes"] == len(data)
    assert await it.batches.content(kept["id"]) == data


async def test_a_file_over_the_limit_is_refused_as_it_arrives(it: Lab):
    """Without a length to go by: as soon as it is known to be too large."""

    async def form() -> AsyncIterator[bytes]:
        head = 'form-data; name="file"; filename="x"'
        yield b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        yield f"--b\r\nContent-Disposition: {head}\r\n\r\n".encode()
        for _ in range(260):
            yield b"x" * 1_000_000
        yield b"\r\n--b--\r\n"

    before = await it.batches.call("GET", "/v1/files")
    headers = {"content-type": "multipart/form-data; boundary=b"}
    error = await it.batches.call("POST", "/v1/files", 413, data=form(), headers=headers)
    assert "250,000,000" in error["error"]["message"]
    assert await it.batches.call("GET", "/v1/files") == before


async def test_an_upload_that_breaks_off_leaves_no_file(it: Lab):
    before = await it.batches.call("GET", "/v1/files")
    url = urlsplit(it.stack.http)
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n{}\n\r\n--b\r\n'
    )
    head = (
        f"POST /v1/files HTTP/1.1\r\nHost: {url.netloc}\r\nx-functions-key: {it.stack.api_key}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000\r\n\r\n"
    )

    def send() -> None:
        with socket.create_connection((url.hostname, url.port), 10) as connection:
            connection.sendall(head.encode() + body)

    await asyncio.to_thread(send)
    await asyncio.sleep(1)
    assert await it.batches.call("GET", "/v1/files") == before


async def test_without_a_key_there_are_no_files(it: Lab):
    async with batches_of(it.stack) as stranger:
        del stranger.api.headers["x-functions-key"]
        async with stranger.api.get("/v1/files") as response:
            assert response.status == 401


# Blobs that are written piece by piece.


async def test_a_blob_has_one_writer_at_a_time(container):
    first = await container.take("a", {"run": "1"})
    assert first.new
    etag = await container.append_as("a", b"one\n", first.etag)
    assert etag is not None
    second = await container.take("a", {"run": "2"})
    assert not second.new
    assert await container.append_as("a", b"late\n", etag) is None
    assert await container.describe_as("a", {"run": "1"}, etag) is None
    etag = await container.append_as("a", b"two\n", second.etag)
    assert etag is not None
    etag = await container.describe_as("a", {"run": "2", "more": '{"a":1}'}, etag)
    assert etag is not None
    assert await container.append_as("a", b"three\n", etag) is not None
    assert await container.get("a") == b"one\ntwo\nthree\n"
    found = await container.look("a")
    assert found is not None
    assert (found.size, found.metadata) == (14, {"run": "2", "more": '{"a":1}'})


async def test_of_many_who_take_a_blob_the_last_alone_writes_it(container):
    takers = await asyncio.gather(*(container.take("a", {"run": str(n)}) for n in range(10)))
    assert sum(taken.new for taken in takers) == 1
    tries = [await container.append_as("a", b"x\n", taken.etag) for taken in takers]
    assert sum(etag is not None for etag in tries) == 1


async def test_a_block_of_many_megabytes_is_appended_whole(container):
    block = b"x" * 30_000_000
    taken = await container.take("a", {})
    assert await container.append_as("a", block, taken.etag) is not None
    assert b"".join([piece async for piece in container.read("a")]) == block


async def test_a_stream_is_kept_whole_and_read_in_ranges(container):
    data = bytes(range(256)) * 40_000

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 777_777):
            yield data[start : start + 777_777]

    assert await container.put_stream("a", pieces()) == len(data)
    sizes = [len(piece) async for piece in container.read("a")]
    assert sum(sizes) == len(data)
    assert max(sizes) <= 4 * 1024 * 1024, "no more than a block is held"
    for offset, length in ((0, 10), (5_000_000, 4_999_999), (len(data) - 1, 5), (0, 0)):
        read = b"".join(
            [piece async for piece in container.read("a", offset=offset, length=length)]
        )
        assert read == data[offset : offset + length]
    assert [piece async for piece in container.read("missing")] == []
    assert [piece async for piece in container.read("a", offset=len(data) + 5)] == []


async def test_a_stream_that_breaks_off_leaves_what_was_there(container):
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * 9_000_000
        raise ConnectionError

    await container.put("a", b"before")
    with pytest.raises(ConnectionError):
        await container.put_stream("a", pieces())
    assert await container.get("a") == b"before"


async def test_blobs_are_listed_with_their_metadata(container):
    assert [each async for each in container.descriptions("p/")] == []
    for n in range(3):
        await container.put(f"p/{n}", b"x" * n, metadata={"n": str(n)})
    found = [each async for each in container.descriptions("p/")]
    assert [(each.name, each.size, each.metadata) for each in found] == [
        (str(n), n, {"n": str(n)}) for n in range(3)
    ]


async def test_a_blob_is_read_as_it_was_or_not_at_all(container):
    await container.put("a", b"one")
    found = await container.look("a")
    assert found is not None
    assert [piece async for piece in container.read_as("a", found.etag)] == [b"one"]
    await container.put("a", b"two")
    with pytest.raises(Conflict):
        _ = [piece async for piece in container.read_as("a", found.etag)]
    await container.delete("a")
    with pytest.raises(Conflict):
        _ = [piece async for piece in container.read_as("a", found.etag)]


async def test_an_input_blob_is_found_by_its_url_alone(container):
    inputs = InputBlobs(container)
    await container.put("team a/june.jsonl", json.dumps({}).encode())
    name = inputs.name_of(f"{container.url}/{quote('team a/june.jsonl')}")
    assert (await inputs.look(name)).size == 2
    with pytest.raises(NotFound):
        await inputs.look("july.jsonl")
    with pytest.raises(InvalidRequest):
        inputs.name_of(f"{container.url}/../sluice-files/default/meta/x")
