"""What goes out for one request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus

type Headers = tuple[tuple[str, str], ...]

DEPLOYMENT = "x-deployment"


@dataclass(frozen=True, slots=True)
class Reply:
    content: bytes
    status: int = 200
    headers: Headers = ()
    content_type: str = "application/json"
    chunked: bool = False
    """As a stream is sent, whose length is not known when it begins."""

    def encode(self) -> bytes:
        head, body = self.parts()
        return head + body

    def parts(self) -> tuple[bytes, bytes]:
        """The head and the body as HTTP/1.1 has them."""
        body, framing = self.content, f"content-length: {len(self.content)}"
        if self.chunked:
            body, framing = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body), _CHUNKED
        more = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        head = f"{_status_line(self.status)}content-type: {self.content_type}\r\n{more}{framing}"
        return f"{head}\r\n\r\n".encode("latin-1"), body


_CHUNKED = "transfer-encoding: chunked"


def error(status: int, message: str, headers: Headers = ()) -> Reply:
    """An error body as OpenAI's clients read it."""
    content = {"error": {"code": _phrase(status).lower().replace(" ", "_"), "message": message}}
    return Reply(json.dumps(content).encode(), status, headers)


def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {_phrase(status)}\r\n"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
