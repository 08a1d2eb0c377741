"""What is screened: a request's texts, by who said them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from pydantic import JsonValue

from policies.screening.injection.folding import fold
from policies.screening.injection.glance import Glance, glance

PIECE = 16_384
"""Characters."""
OVERLAP = 512
"""Of two pieces: what is at the end of one is whole in the next."""
_ATTACHMENTS = frozenset(
    ("image_url", "input_image", "image_file", "input_audio", "input_file", "file")
)
"""Types of a message's parts."""
_NAMES = frozenset(("role", "type", "id", "call_id", "tool_call_id", "detail", "status"))
"""Fields of a message that are no text."""
_OWNERS = frozenset(("system", "developer"))
"""Roles in which the application itself speaks."""
_DOCUMENTS = frozenset(("tool", "function", "function_call_output"))
"""Roles and types of what comes from elsewhere."""


class Said:
    """One text, and who said it."""

    def __init__(self, text: str, role: str = "user") -> None:
        self.text = text
        self.role = role

    @property
    def by_owner(self) -> bool:
        return self.role in _OWNERS

    @property
    def is_document(self) -> bool:
        return self.role in _DOCUMENTS

    @property
    def is_long(self) -> bool:
        """Whether it is to be read piece by piece, for others to have their turn between."""
        return len(self.text) > PIECE

    def pieces(self) -> Iterator[Said]:
        for start in range(0, max(len(self.text) - OVERLAP, 1), PIECE - OVERLAP):
            yield Said(self.text[start : start + PIECE], self.role)

    @cached_property
    def folded(self) -> str:
        """Of its first piece."""
        return fold(self.text[:PIECE])

    @cached_property
    def seen(self) -> Glance:
        """As `folded`."""
        return glance(self.folded)


@dataclass(slots=True)
class Material:
    texts: list[Said] = field(default_factory=list)
    messages: int = 0
    attachments: int = 0

    @property
    def characters(self) -> int:
        return sum(len(said.text) for said in self.texts)


def of_call(payload: JsonValue) -> Material:
    """Of a body of the OpenAI API: its messages or input, not what surrounds them."""
    found = Material()
    if not isinstance(payload, dict):
        return found
    for name in ("messages", "input", "prompt"):
        said = payload.get(name)
        for message in said if isinstance(said, list) else [] if said is None else [said]:
            _add_message(found, message)
    if isinstance(instructions := payload.get("instructions"), str):
        found.texts.append(Said(instructions, "system"))
    return found


def of_job(flow: str, input: JsonValue) -> Material:
    """Of a job. A flow whose name holds a dot takes a body of the OpenAI API: no folder is called
    so."""
    return of_call(input) if "." in flow else of_input(input)


def of_input(input: JsonValue) -> Material:
    """Of a flow's input, whatever its shape: all its texts."""
    found = Material(messages=1)
    _add_texts(found, input, "user", names=frozenset())
    return found


def _add_message(found: Material, message: JsonValue) -> None:
    """All that one message says is read as one text: an attack may be in two parts of it."""
    role = "user"
    if isinstance(message, dict):
        found.messages += 1
        told = message.get("role") or message.get("type")
        role = told if isinstance(told, str) else role
    elif found.messages == 0:
        found.messages = 1
    _add_texts(found, message, role, names=_NAMES)


def _add_texts(found: Material, value: JsonValue, role: str, names: frozenset[str]) -> None:
    texts = []
    for text, attached in _texts(value, names):
        found.attachments += attached
        if not attached:
            texts.append(text)
    if texts:
        found.texts.append(Said(texts[0] if len(texts) == 1 else "\n".join(texts), role))


def _texts(value: JsonValue, names: frozenset[str]) -> Iterator[tuple[str, bool]]:
    """Every text in the order it stands there, and whether it is an attachment instead.

    Without recursion: how deep it goes is the sender's choice.
    """
    left: list[JsonValue] = [value]
    while left:
        each = left.pop()
        if isinstance(each, str):
            attached = each.startswith("data:") and not each.startswith("data:text")
            yield each, attached
        elif isinstance(each, list):
            left.extend(reversed(each))
        elif isinstance(each, dict):
            if names and str(each.get("type")) in _ATTACHMENTS:
                yield "", True
            else:
                left.extend(value for name, value in reversed(each.items()) if name not in names)
