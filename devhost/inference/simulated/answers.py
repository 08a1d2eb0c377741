"""What a deployment answers when nothing is wrong."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle, islice
from typing import Literal

from pydantic import JsonValue
from pydantic_core import from_json

from devhost.inference.simulated.reply import DEPLOYMENT, Reply

type Route = Literal["chat", "embeddings", "responses", "score"]
PATHS: dict[str, Route] = {
    "v1/chat/completions": "chat",
    "v1/embeddings": "embeddings",
    "v1/responses": "responses",
    "score": "score",
}

_WORDS = ("What", "a", "fine", "day", "it", "is.")
_BYTES_A_TOKEN = 4
"""The customary guess for English."""


class Unreadable(ValueError):
    """The request is not one that can be answered; says why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, read."""

    route: Route
    payload: JsonValue
    prompt_tokens: int
    most_tokens: int | None = None
    """That the client allows for the answer."""
    stream: bool = False


def read(route: Route, body: bytes) -> Asked:
    """Raises Unreadable."""
    try:
        payload: JsonValue = from_json(body)  # in half the time of json's
    except ValueError as problem:
        raise Unreadable("The body is not JSON.") from problem
    tokens = max(1, len(body) // _BYTES_A_TOKEN)
    if route == "score":
        return Asked(route, payload, tokens)
    if not isinstance(payload, dict):
        raise Unreadable("The body is not a JSON object.")
    stream = payload.get("stream") is True
    if stream and route != "chat":
        raise Unreadable("Only chat completions are streamed here.")
    return Asked(route, payload, tokens, _most_tokens(payload), stream)


def completion_tokens(asked: Asked, usual: int) -> int:
    """How long the answer will be; `usual` is what the deployment answers unless it is told to."""
    if asked.route in ("embeddings", "score"):
        return 0
    return usual if asked.most_tokens is None else min(usual, asked.most_tokens)


def answer(name: str, asked: Asked, usual_tokens: int, number: int) -> Reply:
    """The deployment's `number`-th answer."""
    headers = ((DEPLOYMENT, name),)
    tokens = completion_tokens(asked, usual_tokens)
    if asked.stream:
        content = b"".join(_chat_events(name, asked, tokens, usual_tokens, number))
        return Reply(content, 200, headers, "text/event-stream", chunked=True)
    match asked.route:
        case "chat":
            return Reply(_chat(name, asked, tokens, usual_tokens, number), 200, headers)
        case "embeddings":
            body = _embeddings(name, asked)
        case "responses":
            body = _response(name, asked, tokens, number)
        case "score":
            body = {"deployment": name, "echo": asked.payload, "usage": _usage(asked, 0)}
    return Reply(json.dumps(body).encode(), 200, headers)


def _chat(name: str, asked: Asked, tokens: int, usual: int, number: int) -> bytes:
    prompt = asked.prompt_tokens
    frame = _chat_frame(name, tokens, "stop" if tokens == usual else "length")
    return frame % (number, int(time.time()), prompt, tokens, prompt + tokens)


@lru_cache(maxsize=256)
def _chat_frame(name: str, tokens: int, finish: str) -> bytes:
    """A chat answer with holes for its numbers.

    Kept, because to encode it anew took a fifth of the server's time for a request.
    """
    message = {"role": "assistant", "content": text(tokens)}
    frame = {
        "id": "chatcmpl-%010d",
        "object": "chat.completion",
        "created": "%d",
        "model": name,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": "%d", "completion_tokens": "%d", "total_tokens": "%d"},
    }
    return json.dumps(frame).replace('"%d"', "%d").encode()


def _chat_events(name: str, asked: Asked, tokens: int, usual: int, number: int) -> Iterator[bytes]:
    shared = {
        "id": f"chatcmpl-{number:010}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": name,
    }

    def event(delta: dict[str, JsonValue], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return _event({**shared, "choices": [choice]})

    yield event({"role": "assistant", "content": ""})
    for index, word in enumerate(islice(cycle(_WORDS), tokens)):
        yield event({"content": word if index == 0 else f" {word}"})
    yield event({}, "stop" if tokens == usual else "length")
    options = asked.payload.get("stream_options") if isinstance(asked.payload, dict) else None
    if isinstance(options, dict) and options.get("include_usage") is True:
        yield _event({**shared, "choices": [], "usage": _usage(asked, tokens)})
    yield b"data: [DONE]\n\n"


def _event(data: object) -> bytes:
    return b"data: %b\n\n" % json.dumps(data).encode()


def _embeddings(name: str, asked: Asked) -> dict[str, JsonValue]:
    texts = asked.payload.get("input") if isinstance(asked.payload, dict) else None
    data: list[JsonValue] = [
        {"object": "embedding", "index": index, "embedding": embedding(each)}
        for index, each in enumerate(texts if isinstance(texts, list) else [texts])
    ]
    return {"object": "list", "model": name, "data": data, "usage": _usage(asked, 0)}


def _response(name: str, asked: Asked, tokens: int, number: int) -> dict[str, JsonValue]:
    content: JsonValue = {"type": "output_text", "text": text(tokens), "annotations": []}
    return {
        "id": f"resp_{number:010}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed",
        "model": name,
        "output": [
            {
                "id": f"msg_{number:010}",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [content],
            }
        ],
        "usage": {
            "input_tokens": asked.prompt_tokens,
            "output_tokens": tokens,
            "total_tokens": asked.prompt_tokens + tokens,
        },
    }


def _usage(asked: Asked, tokens: int) -> dict[str, JsonValue]:
    return {
        "prompt_tokens": asked.prompt_tokens,
        "completion_tokens": tokens,
        "total_tokens": asked.prompt_tokens + tokens,
    }


@lru_cache(maxsize=256)
def text(tokens: int) -> str:
    """So many words."""
    return " ".join(islice(cycle(_WORDS), tokens))


def embedding(text: JsonValue) -> list[JsonValue]:
    """Eight numbers from 0 to 1, the same for the same text and others for another."""
    digest = hashlib.blake2b(json.dumps(text).encode(), digest_size=8).digest()
    return [byte / 255 for byte in digest]


def _most_tokens(payload: dict[str, JsonValue]) -> int | None:
    for key in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        if type(most := payload.get(key)) is int and most > 0:
            return most
    return None
