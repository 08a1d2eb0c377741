"""The one model call of a job, as the peers make it: aiohttp, one session, the answer's text."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp


@dataclass(frozen=True, slots=True)
class Model:
    """An OpenAI-compatible endpoint."""

    url: str
    session: aiohttp.ClientSession

    async def ask(self, text: str) -> str:
        body = {"model": "simulated", "messages": [{"role": "user", "content": text}]}
        headers = {"content-type": "application/json", "authorization": "Bearer key"}
        async with self.session.post(
            f"{self.url}/chat/completions", data=json.dumps(body), headers=headers
        ) as response:
            response.raise_for_status()
            answer = json.loads(await response.read())
        return str(answer["choices"][0]["message"]["content"])


@asynccontextmanager
async def model(url: str) -> AsyncIterator[Model]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Model(url, session)
