"""How a reply goes out, whole or broken."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from dataclasses import replace

from devhost.inference.simulated.deployment import Course
from devhost.inference.simulated.failures import Drop, Garbage, Hang, SlowBody, Status
from devhost.inference.simulated.reply import Headers, Reply, error

_RESET = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
"""SO_LINGER, on and 0 s: closing throws away what is not sent and resets the connection."""


async def deliver(course: Course, transport: asyncio.Transport) -> None:
    """Wait as the course has it, then send what the client is to see.

    After a Drop the connection is gone.
    """
    await course.due()
    reply = course.reply
    match failure := course.failure:
        case None | Hang():
            transport.write(reply.encode())
        case Status():
            transport.write(failing(failure, reply.headers).encode())
        case Garbage():
            transport.write(spoiled(reply, failure).encode())
        case SlowBody():
            await _trickle(reply, failure, transport)
        case Drop(when="before"):
            _reset(transport)
        case Drop():
            head, body = reply.parts()
            transport.write(head + body[: len(body) // 2])
            await asyncio.sleep(0)  # uvloop sends at the end of a turn
            _reset(transport)
    # Now, and not in a later turn: whoever has the answer finds the place free.
    course.end(answered=True)


def failing(failure: Status, named: Headers) -> Reply:
    """An answer with the failure's status, and the headers that go with it."""
    headers = list(named)
    if failure.retry_after is not None:
        headers.append(failure.retry_after.line(failure.retry_after.seconds))
    if failure.model_status is not None:
        headers.append(("ms-azureml-model-error-statuscode", str(failure.model_status)))
    if failure.model_reason is not None:
        headers.append(("ms-azureml-model-error-reason", failure.model_reason))
    return error(failure.status, "A simulated failure.", tuple(headers))


def spoiled(reply: Reply, failure: Garbage) -> Reply:
    """The reply with its content made useless."""
    match failure.content:
        case "truncated":
            return replace(reply, content=reply.content[: len(reply.content) // 2])
        case "not_json":
            return replace(reply, content=b"<html><body>It works!</body></html>")
        case "wrong_json":
            return replace(reply, content=b'["not", {"what": "was asked for"}]')


async def _trickle(reply: Reply, failure: SlowBody, transport: asyncio.Transport) -> None:
    head, body = reply.parts()
    transport.write(head)
    for start in range(0, len(body), failure.piece_bytes):
        await asyncio.sleep(failure.pause_ms / 1_000)
        transport.write(body[start : start + failure.piece_bytes])


def _reset(transport: asyncio.Transport) -> None:
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
