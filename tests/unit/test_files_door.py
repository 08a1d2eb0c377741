"""The files door: uploads as they arrive, pages, content."""

from __future__ import annotations

import json
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.responses import Response

import wiring
from contracts.batches import FileObject
from contracts.ids import is_file_id
from policies.tenants import Tenants
from stores.audit import AuditLog
from stores.files import FileStore
from tests.unit.fakes import MemoryContainer
from tests.unit.http_fakes import Caller, asked
from tests.unit.lines_fakes import chopped
from triggers.openai import files as door
from wiring.privacy import privacy_of

MOST = 5000
BOUNDARY = "b"


@pytest.fixture
def blobs(monkeypatch: pytest.MonkeyPatch) -> MemoryContainer:
    blobs = MemoryContainer()
    store = FileStore(cast(Any, blobs))
    limits = SimpleNamespace(file_bytes=MOST)
    audit = AuditLog(cast(Any, MemoryContainer()))
    privacy = privacy_of(Tenants(), None)
    parts = SimpleNamespace(
        files=store, limits=limits, identities=None, audit=audit, privacy=privacy
    )
    monkeypatch.setattr(wiring, "parts", lambda: parts)
    return blobs


def purpose(value: str = "batch") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{value}\r\n'.encode()


def file(content: bytes, name: str = "in.jsonl") -> bytes:
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n"


END = b"--b--\r\n"


async def answer(response: Response) -> tuple[int, Any]:
    body = await Caller().hear(response)
    return response.status_code, json.loads(body)


async def upload(*fields: bytes, end: bytes = END) -> tuple[int, Any]:
    pieces = chopped(b"".join(fields) + end, range(0, 20_000, 700))
    headers = {"content-type": "multipart/form-data; boundary=b"}
    function = cast(Any, door.upload_file)._function._func
    return await answer(await function(asked("POST", "/v1/files", pieces, headers=headers)))


async def call(function: Any, file_id: str = "", **query: str) -> Response:
    request = asked("GET", "/v1/files", query=query, route_params={"file_id": file_id})
    return cast(Response, await function._function._func(request))


@pytest.mark.parametrize("order", [0, 1], ids=["purpose first", "file first"])
async def test_a_file_is_kept_whichever_field_comes_first(blobs, order):
    fields = [purpose(), file(b"{}\n" * 500)]
    status, kept = await upload(*(reversed(fields) if order else fields))
    assert status == 200
    assert is_file_id(kept["id"])
    assert (kept["bytes"], kept["filename"], kept["purpose"]) == (1500, "in.jsonl", "batch")
    assert await answer(await call(door.get_file, kept["id"])) == (200, kept)
    content = await call(door.get_file_content, kept["id"])
    assert content.headers["content-length"] == "1500"
    assert await Caller().hear(content) == b"{}\n" * 500


async def test_an_empty_file_is_a_file(blobs):
    status, kept = await upload(purpose(), file(b""))
    assert (status, kept["bytes"]) == (200, 0)
    assert await Caller().hear(await call(door.get_file_content, kept["id"])) == b""


@pytest.mark.parametrize(
    ("fields", "end", "status", "param"),
    [
        ([purpose("fine-tune"), file(b"{}")], END, 400, "purpose"),
        ([file(b"{}"), purpose("fine-tune")], END, 400, "purpose"),
        ([file(b"{}")], END, 400, "purpose"),
        ([purpose()], END, 400, "file"),
        ([purpose(), purpose().replace(b"purpose", b"file")], END, 400, "file"),
        ([purpose(), file(b"x" * (MOST + 1))], END, 413, None),
        ([file(b"{}"), purpose()], b"", 400, "(body)"),
        ([purpose(), file(b"{}" * 1000)], b"--", 400, "(body)"),
        ([b"no form"], END, 400, "(body)"),
    ],
)
async def test_what_is_no_upload_is_refused_and_leaves_nothing(blobs, fields, end, status, param):
    said, error = await upload(*fields, end=end)
    assert said == status
    assert error["error"]["type"] == "invalid_request_error"
    assert error["error"]["param"] == param
    assert blobs.blobs == {}


async def test_a_caller_who_leaves_leaves_nothing(blobs):
    caller = Caller()
    headers = {"content-type": "multipart/form-data; boundary=b"}
    request = asked("POST", "/v1/files", headers=headers, caller=caller)
    caller.pieces = [file(b"{}"), b""]
    heard = caller.receive

    async def breaks_off() -> dict[str, Any]:
        if len(caller.pieces) == 1:
            return {"type": "http.disconnect"}
        return await heard()

    request._receive = breaks_off
    response = await cast(Any, door.upload_file)._function._func(request)
    assert response.status_code == 499
    assert blobs.blobs == {}


async def test_a_long_name_is_cut_and_any_name_is_listed_as_it_is(blobs):
    name = "schön ☃ \\ 'x' %41 a  b" + "n" * 400
    _, kept = await upload(purpose(), file(b"{}", name))
    assert kept["filename"] == name[:255]
    _, listed = await answer(await call(door.list_files))
    assert listed["data"] == [kept]
    [metadata] = [meta for blob, meta in blobs.metadata.items() if "/meta/" in blob]
    assert metadata["file"].isascii()


async def some_files(store: FileStore, ids: Iterable[str]) -> None:
    for number, file_id in enumerate(ids):
        written = FileObject(
            id=file_id,
            bytes=1,
            created_at=number,
            filename="x",
            purpose="batch_output" if number % 2 else "batch",
        )
        await store.put("default", written, [])


async def test_pages_follow_each_other_and_may_be_of_one_purpose(blobs):
    ids = [f"file-{n:03}" for n in range(25)]
    await some_files(FileStore(cast(Any, blobs)), ids)
    seen: list[str] = []
    more = True
    while more:
        after = {"after": seen[-1]} if seen else {}
        _, page = await answer(await call(door.list_files, limit="10", **after))
        seen += [each["id"] for each in page["data"]]
        more = page["has_more"]
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], seen[-1])
    assert seen == ids
    _, page = await answer(await call(door.list_files, purpose="batch_output", limit="12"))
    assert [each["id"] for each in page["data"]] == ids[1::2]
    assert not page["has_more"]


async def test_no_files(blobs):
    _, page = await answer(await call(door.list_files))
    assert page == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "10001"}, "limit"),
        ({"purpose": "fine-tune"}, "purpose"),
        ({"order": "asc"}, "order"),
    ],
)
async def test_what_cannot_be_listed(blobs, query, param):
    status, error = await answer(await call(door.list_files, **query))
    assert (status, error["error"]["param"]) == (400, param)


async def test_a_deleted_file_is_gone_with_its_content(blobs):
    _, kept = await upload(purpose(), file(b"{}"))
    assert await answer(await call(door.delete_file, kept["id"])) == (
        200,
        {"id": kept["id"], "object": "file", "deleted": True},
    )
    assert blobs.blobs == {}
    status, error = await answer(await call(door.get_file, kept["id"]))
    assert (status, error["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("file_id", ["file-1", "../meta/x", "", "batch_" + "0" * 34])
@pytest.mark.parametrize("function", [door.get_file, door.get_file_content, door.delete_file])
async def test_what_is_no_file_id_is_not_looked_up(blobs, function, file_id):
    assert (await call(function, file_id)).status_code == 404
    assert blobs.calls == {}
