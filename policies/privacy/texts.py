"""The texts of a payload, wherever they stand in it. Keys, numbers and structure are no texts.

A text may be JSON itself, as the arguments of a tool's call are. Then its own texts are meant, so
that it stays JSON; and its long numbers, since to a model it is a text after all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

from pydantic import JsonValue

from endpoints import json_body
from endpoints.json_body import NotJson

type Rewrite = Callable[[str], str]

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9]{7,}')
_DATA_URL = re.compile(r"data:[^,]{0,127};base64,")


def texts(payload: JsonValue) -> Iterator[str]:
    """Each text that is to be searched; those of a JSON text one by one."""
    waiting: list[JsonValue] = [payload]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield from _within(value)
        elif isinstance(value, dict):
            waiting.extend(reversed(value.values()))
        elif isinstance(value, list):
            waiting.extend(reversed(value))


def rewritten(payload: JsonValue, rewrite: Rewrite) -> JsonValue:
    """A copy, each of whose texts has gone through `rewrite`."""
    top: list[JsonValue] = [payload]
    waiting: list[dict[str, JsonValue] | list[JsonValue]] = [top]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            for key, value in part.items():
                part[key] = _copied(value, rewrite, waiting)
        else:
            for index, value in enumerate(part):
                part[index] = _copied(value, rewrite, waiting)
    return top[0]


def _copied(
    value: JsonValue,
    rewrite: Rewrite,
    waiting: list[dict[str, JsonValue] | list[JsonValue]],
) -> JsonValue:
    if isinstance(value, str):
        return rewrite(value)
    if isinstance(value, dict | list):
        value = value.copy()
        waiting.append(value)
    return value


def redone(text: str, rewrite: Rewrite) -> str:
    """The text after `rewrite`, which sees the same texts of it as `texts` has given."""
    if is_data(text):
        return text
    return (
        _TOKEN.sub(lambda token: _token(token[0], rewrite), text)
        if is_json(text)
        else (rewrite(text))
    )


def is_json(text: str) -> bool:
    """Whether it is an object or a list of JSON."""
    if not looks_like_json(text) or text.rstrip()[-1:] not in ("}", "]"):
        return False
    try:
        json_body.decode(text.encode())
    except (NotJson, UnicodeEncodeError):
        return False
    return True


def looks_like_json(text: str) -> bool:
    """By its beginning alone, as far as an answer that is still under way can tell."""
    return text.lstrip()[:1] in ("{", "[")


def is_data(text: str) -> bool:
    """An image, say, as a URL."""
    return text.startswith("data:") and _DATA_URL.match(text) is not None


def _within(text: str) -> Iterator[str]:
    if is_data(text):
        return
    if not is_json(text):
        yield text
        return
    for token in _TOKEN.findall(text):
        if token.startswith('"'):
            yield from _within(json.loads(token))
        else:
            yield token


def _token(token: str, rewrite: Rewrite) -> str:
    if not token.startswith('"'):
        new = rewrite(token)
        return token if new == token else json.dumps(new)
    text = json.loads(token)
    new = redone(text, rewrite)
    return token if new == text else json.dumps(new, ensure_ascii=False)
