"""What a chat or embeddings body needs of a deployment, as far as the body tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from contracts.calls import ModelCall

CHARACTERS_A_TOKEN = 4
_MODALITIES = {
    "image_url": "image",
    "input_image": "image",
    "input_audio": "audio",
    "file": "file",
    "input_file": "file",
}


@dataclass(frozen=True, slots=True)
class Needs:
    tokens: int = 0
    """An estimate: the input's text, and as much output as the body allows."""
    json_mode: bool = False
    modalities: frozenset[str] = frozenset()


NOTHING = Needs()


def needs(call: ModelCall) -> Needs:
    """Of any other body than a JSON object only the size of its text is known."""
    body = call.payload
    tokens = sum(len(text) for text in _texts(body)) // CHARACTERS_A_TOKEN + 1
    modalities = set()
    if not isinstance(body, dict):
        return Needs(tokens)
    for part in _parts(body):
        if (modality := _MODALITIES.get(str(part.get("type")))) is not None:
            modalities.add(modality)
    return Needs(
        tokens=tokens + _token_ids(body.get("input")) + _most_output(body),
        json_mode=_wants_json(body),
        modalities=frozenset(modalities),
    )


def _most_output(body: dict[str, JsonValue]) -> int:
    for name in ("max_completion_tokens", "max_output_tokens", "max_tokens"):
        most = body.get(name)
        if type(most) is int and most > 0:
            return most
    return 0


def _wants_json(body: dict[str, JsonValue]) -> bool:
    """A chat says so in `response_format`, the Responses API in `text.format`."""
    text = body.get("text")
    wanted = body.get("response_format") or (text.get("format") if isinstance(text, dict) else None)
    return isinstance(wanted, dict) and wanted.get("type") != "text"


def _token_ids(value: JsonValue) -> int:
    """The input of embeddings may be given in tokens, one list or several."""
    if not isinstance(value, list):
        return 0
    if value and type(value[0]) is int:
        return len(value)
    return sum(_token_ids(item) for item in value)


def _texts(value: JsonValue) -> Iterator[str]:
    """Every text, but not what an image or a file holds."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict) and _MODALITIES.get(str(value.get("type"))) is None:
        for item in value.values():
            yield from _texts(item)


def _parts(body: dict[str, JsonValue]) -> Iterator[dict[str, JsonValue]]:
    """The content parts of the messages, or of the Responses API's input."""
    for name in ("messages", "input"):
        messages = body.get(name)
        for message in messages if isinstance(messages, list) else ():
            content = message.get("content") if isinstance(message, dict) else None
            for part in content if isinstance(content, list) else ():
                if isinstance(part, dict):
                    yield part
