"""The same prompt, or nearly, again and again."""

from __future__ import annotations

from dataclasses import dataclass

from policies.identity.bounded import Bounded
from policies.screening.digests import digest
from policies.screening.material import PIECE, Material, Said
from policies.screening.sender import Sender
from policies.screening.settings import RepetitionSettings

MOST_KEPT = 20_000
"""Prompts."""
_WORDS = 8
"""By which a prompt is known: those with the least digests. A few other words in a long text leave
them as they are; in a short one they are all its words."""


@dataclass(slots=True)
class _Seen:
    since: float
    times: int = 0


class Repetitions:
    """Of all that is asked of this worker."""

    def __init__(self) -> None:
        self._seen: Bounded[bytes, _Seen] = Bounded(MOST_KEPT)

    def repeated(
        self, sender: Sender, material: Material, settings: RepetitionSettings, now: float
    ) -> str | None:
        """Count a prompt; `now` in seconds of a clock that never jumps."""
        known_by = _sketch(material)
        if known_by is None:
            return None
        name = digest(sender.tenant, sender.key, known_by)
        seen = self._seen.get(name)
        if seen is None or now - seen.since > settings.within_seconds:
            seen = _Seen(now)
            self._seen.put(name, seen)
        seen.times += 1
        return "same_prompt" if seen.times > settings.times else None


def _sketch(material: Material) -> str | None:
    """The same for prompts that are the same, or nearly; None for one without words.

    What the application says is left out: it is the same in every request.
    """
    words: set[str] = set()
    for said in material.texts:
        if not said.by_owner:
            words |= said.seen.words
            if said.is_long:
                words |= Said(said.text[-PIECE:]).seen.words
    # hash() differs from process to process, and only serves to choose.
    return " ".join(sorted(filter(str.isalpha, words), key=hash)[:_WORDS]) or None
