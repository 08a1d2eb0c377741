"""Files, which batches read and write: `/v1/files`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Literal, get_args

import azure.durable_functions as df
from starlette.responses import Response, StreamingResponse

import wiring
from contracts.audit import AuditAction
from contracts.batches import FileDeleted, FileList, FileObject, Purpose
from contracts.errors import InvalidRequest, NotFound, PayloadTooLarge, SluiceError
from contracts.identity import Role
from contracts.ids import is_file_id, new_file_id
from contracts.openai import ErrorBody
from contracts.problems import FieldProblem
from policies.privacy.retention import dated, expired
from stores.files import StoredFile
from triggers.door import json_response, query_int
from triggers.http import CallerLeft, Request
from triggers.multipart import Part, parts
from triggers.openai.errors import openai_door
from triggers.operation import ANY_BYTES, Operation, Parameter, operation

bp = df.Blueprint()

UPLOAD_PURPOSE: Literal["batch"] = "batch"
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
ORDER = "desc"
LONGEST_NAME = 255

_FILE_ID = Parameter("file_id", "path", "The file's id.", {"type": "string"}, required=True)


@operation(
    Operation(
        method="POST",
        path="/v1/files",
        role=Role.SUBMIT,
        summary="Upload the input of a batch (multipart/form-data: `purpose`, `file`).",
        form={
            "purpose": {"type": "string", "enum": [UPLOAD_PURPOSE]},
            "file": {"type": "string", "format": "binary"},
        },
        responses={HTTPStatus.OK: FileObject},
        problems=(
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
        error_model=ErrorBody,
    )
)
@bp.function_name("upload_file")
@bp.route("v1/files", methods=["POST"])
@openai_door(Role.SUBMIT)
async def upload_file(req: Request) -> Response:
    """Keep the file as it arrives; the fields of the form may come before or after it."""
    files, most = wiring.parts().files, wiring.parts().limits.file_bytes
    purpose, file = None, None
    try:
        async for part in parts(req):
            if part.name == "purpose":
                purpose = await part.text()
                _check_purpose(purpose)
            elif part.name == "file" and part.filename is not None and file is None:
                file = await files.upload(req.identity.tenant, _file(part), _at_most(part, most))
        _check_purpose(purpose)
        if file is None:
            raise _wrong("file", "a file")
    except (SluiceError, CallerLeft):  # nobody learns the file's id
        if file is not None:
            await files.delete(req.identity.tenant, file.id)
        raise
    return json_response(_dated(req, file))


@operation(
    Operation(
        method="GET",
        path="/v1/files",
        role=Role.READ,
        summary="Files, newest first.",
        parameters=(
            Parameter(
                "limit",
                "query",
                "How many files a page has.",
                {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 1000},
            ),
            Parameter("after", "query", "The last id of a former page.", {"type": "string"}),
            Parameter(
                "purpose",
                "query",
                "Files of one purpose alone.",
                {"type": "string", "enum": list(PURPOSES)},
            ),
            Parameter("order", "query", "Newest first alone.", {"type": "string", "enum": [ORDER]}),
        ),
        responses={HTTPStatus.OK: FileList},
        problems=(HTTPStatus.BAD_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE),
        error_model=ErrorBody,
    )
)
@bp.function_name("list_files")
@bp.route("v1/files", methods=["GET"])
@openai_door(Role.READ)
async def list_files(req: Request) -> Response:
    limit = query_int(req, "limit", default=1000, least=1, most=10_000)
    purpose, order = req.query.get("purpose"), req.query.get("order", ORDER)
    if purpose is not None and purpose not in PURPOSES:
        raise _wrong("purpose", f"one of {', '.join(PURPOSES)}")
    if order != ORDER:
        raise _wrong("order", ORDER)
    page = await wiring.parts().files.page(
        req.identity.tenant,
        after=req.query.get("after"),
        most=limit,
        purpose=purpose,
    )
    ids = [file.id for file in page.files]
    return json_response(
        FileList(
            data=[_dated(req, file) for file in page.files],
            first_id=ids[0] if ids else None,
            last_id=ids[-1] if ids else None,
            has_more=page.more,
        )
    )


@operation(
    Operation(
        method="GET",
        path="/v1/files/{file_id}",
        role=Role.READ,
        summary="One file.",
        parameters=(_FILE_ID,),
        responses={HTTPStatus.OK: FileObject},
        problems=(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
        error_model=ErrorBody,
    )
)
@bp.function_name("get_file")
@bp.route("v1/files/{file_id}", methods=["GET"])
@openai_door(Role.READ)
async def get_file(req: Request) -> Response:
    return json_response(_dated(req, (await _find(req)).file))


@operation(
    Operation(
        method="DELETE",
        path="/v1/files/{file_id}",
        role=Role.SUBMIT,
        summary="Remove a file.",
        parameters=(_FILE_ID,),
        responses={HTTPStatus.OK: FileDeleted},
        problems=(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
        error_model=ErrorBody,
    )
)
@bp.function_name("delete_file")
@bp.route("v1/files/{file_id}", methods=["DELETE"])
@openai_door(Role.SUBMIT)
async def delete_file(req: Request) -> Response:
    file_id = (await _find(req)).file.id
    async with wiring.parts().audit.recorded(req.identity, AuditAction.FILE_DELETED, file_id):
        await wiring.parts().files.delete(req.identity.tenant, file_id)
    return json_response(FileDeleted(id=file_id))


@operation(
    Operation(
        method="GET",
        path="/v1/files/{file_id}/content",
        role=Role.READ,
        summary="A file's content, however large.",
        parameters=(_FILE_ID,),
        responses={HTTPStatus.OK: ANY_BYTES},
        problems=(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
        error_model=ErrorBody,
    )
)
@bp.function_name("get_file_content")
@bp.route("v1/files/{file_id}/content", methods=["GET"])
@openai_door(Role.READ)
async def get_file_content(req: Request) -> Response:
    stored = await _find(req)
    return StreamingResponse(
        wiring.parts().files.content(stored),
        media_type="application/octet-stream",
        headers={"content-length": str(stored.file.bytes)},
    )


async def _find(req: Request) -> StoredFile:
    file_id = req.route_params["file_id"]
    stored = None
    if is_file_id(file_id):
        stored = await wiring.parts().files.get(req.identity.tenant, file_id)
    rules = wiring.parts().privacy(req.identity.tenant).retention
    if stored is None or expired(stored.file, rules):
        raise NotFound("There is no such file: use the `id` that `POST /v1/files` answered.")
    return stored


def _dated(req: Request, file: FileObject) -> FileObject:
    """With its time of expiry."""
    return dated(file, wiring.parts().privacy(req.identity.tenant).retention)


def _file(part: Part) -> FileObject:
    now = datetime.now(UTC)
    return FileObject(
        id=new_file_id(now),
        bytes=0,
        created_at=int(now.timestamp()),
        filename=(part.filename or "file")[:LONGEST_NAME],
        purpose=UPLOAD_PURPOSE,
    )


async def _at_most(part: Part, most: int) -> AsyncIterator[bytes]:
    size = 0
    async for piece in part.pieces:
        size += len(piece)
        if size > most:
            raise PayloadTooLarge(f"The file is too large: at most {most:,} bytes are taken.")
        yield piece


def _check_purpose(purpose: str | None) -> None:
    if purpose != UPLOAD_PURPOSE:
        raise _wrong("purpose", UPLOAD_PURPOSE)


def _wrong(field: str, expected: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{field}` is not as expected: {expected}.", [FieldProblem(field=field, expected=expected)]
    )
