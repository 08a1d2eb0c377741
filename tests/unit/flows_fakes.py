"""Doubles for flows: models that answer as scripted, and folders written for one test."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

from pydantic import JsonValue

from contracts.calls import Attempt, JsonObject, ModelAnswer, ModelCall, Task
from contracts.flows import FlowRun
from flows.registry import Flows

type Answerer = Callable[[ModelCall], JsonValue]

DOCS = Path(__file__).parents[2] / "docs" / "flows.md"


def answered(call: ModelCall, body: JsonValue) -> ModelAnswer:
    attempt = Attempt(
        model=call.model,
        deployment=f"{call.model}-1",
        outcome="answered",
        status=200,
        started_at=datetime.now(UTC),
        seconds=0.0,
        request_id="r",
    )
    return ModelAnswer(body, attempt)


def completion(text: str | None, **message: JsonValue) -> JsonObject:
    return {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text, **message}}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }


def embeddings(call: ModelCall) -> JsonObject:
    """A vector a text: how often it has each of the letters a to e."""
    texts = field(call, "input")
    texts = texts if isinstance(texts, list) else [texts]
    return {
        "model": "letters",
        "data": [
            {"index": i, "embedding": [float(str(text).count(letter)) for letter in "abcde"]}
            for i, text in enumerate(texts)
        ],
    }


def scores(call: ModelCall) -> JsonObject:
    labels = field(call, "labels")
    assert isinstance(labels, list)
    return {"label": labels[-1], "scores": {str(label): 1 / len(labels) for label in labels}}


def field(call: ModelCall, name: str) -> JsonValue:
    assert isinstance(call.payload, dict)
    return call.payload[name]


def last_message(call: ModelCall) -> str:
    messages = field(call, "messages")
    assert isinstance(messages, list)
    message = messages[-1]
    assert isinstance(message, dict)
    return str(message["content"])


class FakeModels:
    """What flows call instead of endpoints. Every model answers by its task unless told how."""

    def __init__(self, **answers: JsonValue | Exception | Answerer) -> None:
        self.calls: list[ModelCall] = []
        self._answers = answers

    async def __call__(self, call: ModelCall) -> ModelAnswer:
        self.calls.append(call)
        answer = self._answers.get(call.model, _by_task)
        if isinstance(answer, Exception):
            raise answer
        return answered(call, answer(call) if callable(answer) else answer)

    def run(self, model: str | None = None) -> FlowRun:
        return FlowRun(invoke=self, model=model)


def _by_task(call: ModelCall) -> JsonValue:
    match call.task:
        case Task.CHAT:
            return completion(f"About: {last_message(call).strip()}")
        case Task.EMBEDDINGS:
            return embeddings(call)
    return scores(call)


def write(directory: Path, files: dict[str, str]) -> Path:
    """Write files by their paths in the directory, which is given back."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
    return directory


def reason(directory: Path, name: str = "it") -> str:
    """Why the folder `name` is broken."""
    flows = Flows.load(directory)
    return next(flow.reason for flow in flows.broken if flow.name == name)


def recipes() -> dict[str, str]:
    """The files that docs/flows.md shows, by their paths."""
    fences = re.findall(r"^```\w+ (\S+/\S+)\n(.*?)^```$", DOCS.read_text("utf-8"), re.M | re.S)
    return dict(fences)
