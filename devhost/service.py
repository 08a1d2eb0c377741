"""The service that an operator's command speaks to: that of ./dev start, or one that is named."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from contracts.keys import PREFIX

STACK = Path(".local/stack.json")
KEY_VARIABLE = "SLUICE_KEY"
REQUEST_SECONDS = 30.0
_GOOD = (200, 201, 202)
_UNHURRIED = aiohttp.ClientTimeout(total=None, sock_read=REQUEST_SECONDS)
"""For what takes as long as it is large."""


class ServiceFailed(Exception):
    """The service refuses, or cannot be reached; says why."""

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status
        """Of the answer; None when there was none."""


def add_service_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="of the service; else that of ./dev start")
    parser.add_argument(
        "--key",
        help="an API key with the role operate, or a key of the platform where the service knows no"
        f" tenants; else {KEY_VARIABLE} in the environment, else that of ./dev start",
    )


def local_stack() -> dict[str, Any]:
    """What ./dev start has written of itself. Raises ServiceFailed when it does not run here."""
    try:
        stack: dict[str, Any] = json.loads(STACK.read_text(encoding="utf-8"))
    except OSError:
        raise ServiceFailed("No stack runs here (./dev start): give --url and --key.") from None
    return stack


@asynccontextmanager
async def session_of(options: argparse.Namespace) -> AsyncIterator[aiohttp.ClientSession]:
    """With the service that the options name."""
    key = options.key or os.environ.get(KEY_VARIABLE)
    if options.url is not None:
        url = options.url
    else:
        stack = local_stack()
        url, key = stack["http"], key or stack["api_key"]
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    async with aiohttp.ClientSession(url, headers=key_headers(key), timeout=timeout) as session:
        yield session


def key_headers(key: str | None) -> dict[str, str]:
    """How a key is sent: the app's own, and tokens, as bearers; else it is the platform's."""
    if not key:
        return {}
    bearer = key.startswith(PREFIX) or key.count(".") == 2
    return {"Authorization": f"Bearer {key}"} if bearer else {"x-functions-key": key}


async def ask(
    session: aiohttp.ClientSession,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> str:
    """The answer's text; the body is sent as JSON, or as a form. Raises ServiceFailed."""
    sent: dict[str, Any] = {"json": body}
    if isinstance(body, aiohttp.FormData):
        sent = {"data": body, "timeout": _UNHURRIED}
    try:
        async with session.request(method, path, headers=headers, **sent) as response:
            text = await response.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise _unreachable(error) from error
    _check(response, text)
    return text


async def download(session: aiohttp.ClientSession, path: str, file: Path) -> int:
    """Write the answer to a file, piece by piece; its bytes. Raises ServiceFailed."""
    written = 0
    try:
        async with session.get(path, timeout=_UNHURRIED) as response:
            if response.status not in _GOOD:
                _check(response, await response.text())
            with file.open("wb") as out:
                async for piece in response.content.iter_chunked(1 << 16):
                    written += out.write(piece)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise _unreachable(error) from error
    return written


def _unreachable(error: Exception) -> ServiceFailed:
    where = ""
    if isinstance(error, aiohttp.ClientConnectorError):
        where = f" at {error.host}:{error.port}"
    return ServiceFailed(f"The service cannot be reached{where}: {type(error).__name__}")


def _check(response: aiohttp.ClientResponse, text: str) -> None:
    if response.status not in _GOOD:
        why = f"{response.method} {response.url.path} answered {response.status}: {_detail(text)}"
        raise ServiceFailed(why, response.status)


def _detail(text: str) -> str:
    try:
        told = json.loads(text)
        return str(told["error"]["message"] if "error" in told else told["detail"])
    except (ValueError, LookupError, TypeError):
        return text[:200]
