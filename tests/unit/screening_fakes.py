"""A Content Safety without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from endpoints.wire import Limits, NoReply, Reply, Request
from tests.unit.endpoints_fakes import reply

CLEAN = {"blocklistsMatch": [], "categoriesAnalysis": []}
NO_ATTACK = {"userPromptAnalysis": {"attackDetected": False}, "documentsAnalysis": []}


@dataclass(frozen=True)
class Asked:
    operation: str
    body: dict[str, Any]
    headers: dict[str, str]
    version: str


def harmless(asked: Asked) -> Reply | NoReply:
    return reply(200, CLEAN if asked.operation == "text:analyze" else NO_ATTACK)


@dataclass
class FakeSafety:
    """Answers as `answer` says; hangs while that is None."""

    answer: Callable[[Asked], Reply | NoReply] | None = harmless
    asked: list[Asked] = field(default_factory=list)

    async def send(
        self, request: Request, headers: Mapping[str, str], limits: Limits
    ) -> Reply | NoReply:
        sent = Asked(
            request.url.path.rpartition("/")[2],
            from_json(request.body),
            {**request.headers, **headers},
            request.url.query["api-version"],
        )
        self.asked.append(sent)
        if self.answer is None:
            await asyncio.Event().wait()
            raise AssertionError
        return self.answer(sent)

    async def open(self, request: Request, headers: Mapping[str, str], limits: Limits) -> Any:
        raise AssertionError

    async def aclose(self) -> None:
        pass

    @property
    def operations(self) -> list[str]:
        return [each.operation for each in self.asked]
