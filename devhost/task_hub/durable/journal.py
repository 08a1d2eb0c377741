"""What is to be committed, in order, and what may happen once it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

type Value = int | str | bytes | None

_NUMBERS_A_BOOT = 32
"""Bits of a sequence number that count within one run of the hub."""


@dataclass(slots=True)
class Changes:
    """One transaction: its statements, and the calls to make when it is durable."""

    statements: list[tuple[str, tuple[Value, ...]]] = field(default_factory=list)
    effects: list[Callable[[], None]] = field(default_factory=list)
    last_seq: int = 0

    def __bool__(self) -> bool:
        return bool(self.statements or self.effects)


class Journal:
    """Collects changes until they are taken to be committed.

    Sequence numbers are never used twice, not even after a crash: the run of the hub is their
    upper half. So a token or a late answer from before a crash cannot mean something else now.
    """

    def __init__(self, boot: int, on_change: Callable[[], None] = lambda: None) -> None:
        self._open = Changes()
        self._seq = boot << _NUMBERS_A_BOOT
        self.committed = self._seq
        """Rows up to this sequence number are durable."""
        self.on_change = on_change

    def next_seq(self) -> int:
        self._seq += 1
        return self._seq

    @property
    def open(self) -> Changes:
        """What has not been taken yet."""
        return self._open

    def take(self) -> Changes:
        """Close the open transaction and begin the next."""
        taken, self._open = self._open, Changes()
        taken.last_seq = self._seq
        return taken

    def done(self, changes: Changes) -> None:
        """These changes are durable: make the calls that waited for that."""
        self.committed = changes.last_seq
        for effect in changes.effects:
            effect()

    def after(self, effect: Callable[[], None]) -> None:
        """Call `effect` once everything written so far is durable."""
        self._open.effects.append(effect)
        self.on_change()

    def write(self, statement: str, *values: Value) -> None:
        self._open.statements.append((statement, values))
        self.on_change()
