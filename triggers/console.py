"""The console: a web page for operators and callers, at `/console`.

The files of console/ as they are. They hold no data, so they are open to all: what the page shows
it reads from the same doors as every caller, with the key that it is given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path

import azure.durable_functions as df
import azure.functions as func
from starlette.responses import Response

from contracts.errors import NotFound
from triggers.door import door
from triggers.http import Request

bp = df.Blueprint()

FOLDER = Path(__file__).parents[1] / "console"
FIRST_PAGE = "index.html"
MEDIA_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""Files of other kinds are not served."""
HEADERS = {
    # Asked for again each time, and answered with 304: all its files are of one version.
    "Cache-Control": "no-cache",
    # `blob:` and `data:` are for nothing that a server sends. Forms are sent by scripts.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Page:
    """One file, as it is sent."""

    body: bytes
    media_type: str
    etag: str


@bp.function_name("console")
@bp.route("console/{*path}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@door(None)
async def console(req: Request) -> Response:
    """One file; without a path the first page."""
    page = pages().get(req.route_params.get("path") or FIRST_PAGE)
    if page is None:
        raise NotFound("The console has no such file: it begins at /console.")
    headers = HEADERS | {"ETag": page.etag}
    if page.etag in _known(req.headers.get("If-None-Match", "")):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(page.body, headers=headers, media_type=page.media_type)


@cache
def pages() -> dict[str, Page]:
    """Every file by its path below console/: read once, so that no request names a file."""
    return {
        path.relative_to(FOLDER).as_posix(): _page(path)
        for path in sorted(FOLDER.rglob("*"))
        if path.is_file() and path.suffix in MEDIA_TYPES
    }


def _page(path: Path) -> Page:
    body = path.read_bytes()
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return Page(body, MEDIA_TYPES[path.suffix], etag)


def _known(header: str) -> set[str]:
    """The entity tags that the caller has; what is between has weakened them on their way."""
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}
