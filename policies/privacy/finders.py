"""What searches a text for one kind: a pattern with its check, and three that no pattern tells."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from policies.privacy import checks
from policies.privacy.finding import Found
from policies.privacy.kinds import Kind


@dataclass(frozen=True, slots=True)
class Detector:
    """A pattern; its group `it` is what was found, else all of it."""

    kind: Kind
    pattern: re.Pattern[str]
    check: Callable[[str], bool] | None = None
    hints: tuple[str, ...] = ()
    """Texts of which each match holds one."""
    gate: re.Pattern[str] | None = None
    """Found in or about each match, and quick."""
    after: re.Pattern[str] | None = None
    """Stands before it, at most so many characters away."""

    def find(self, text: str) -> Iterator[Found]:
        if self.hints and not self._hinted(text):
            return
        if self.gate is not None and self.gate.search(text) is None:
            return
        group: int | str = "it" if "it" in self.pattern.groupindex else 0
        for match in self.pattern.finditer(text):
            start, end = match.span(group)
            if self.after is not None and not self.after.search(text, max(0, start - 24), start):
                continue
            if self.check is None or self.check(text[start:end]):
                yield Found(start, end, self.kind)

    def _hinted(self, text: str) -> bool:
        for hint in self.hints:  # noqa: SIM110 (a third of the time that any() takes)
            if hint in text:
                return True
        return False


@dataclass(frozen=True, slots=True)
class Cards:
    """Numbers of payment cards among groups of digits, of which others may stand beside them."""

    pattern = re.compile(r"[0-9](?<![0-9.,][0-9])(?:[ -]?[0-9]){12,99}(?![0-9])")
    group = re.compile("[0-9]+")

    def find(self, text: str) -> Iterator[Found]:
        for run in self.pattern.finditer(text):
            yield from self._within(run)

    def _within(self, run: re.Match[str]) -> Iterator[Found]:
        groups = [each.span() for each in self.group.finditer(run[0])]
        first = 0
        while first < len(groups):
            end = self._end(run[0], groups, first)
            if end is None:
                first += 1
                continue
            start = run.start()
            yield Found(start + groups[first][0], start + groups[end][1], Kind.CARD)
            first = end + 1

    def _end(self, run: str, groups: list[tuple[int, int]], first: int) -> int | None:
        """The last group of the longest number that begins with the first."""
        longest, size = None, 0
        for last in range(first, len(groups)):
            size += groups[last][1] - groups[last][0]
            if size > 19:
                break
            if size >= 13 and checks.is_card(run[groups[first][0] : groups[last][1]]):
                longest = last
        return longest


@dataclass(frozen=True, slots=True)
class Emails:
    """Around each @: RFC 5321's lengths, without quotes and comments; other scripts too."""

    local = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}\Z")
    domain = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}")

    def find(self, text: str) -> Iterator[Found]:
        at = text.find("@")
        while at >= 0:
            local = self.local.search(text, max(0, at - 65), at)
            if local is not None and (domain := self.domain.match(text, at + 1)) is not None:
                yield Found(local.start(), domain.end(), Kind.EMAIL)
            at = text.find("@", at + 1)


@dataclass(frozen=True, slots=True)
class Ibans:
    """As many characters as the country's have: words may follow."""

    head = re.compile(r"[0-9][0-9](?<=[A-Za-z]{2}[0-9]{2})(?<![A-Za-z0-9][A-Za-z]{2}[0-9]{2})")

    def find(self, text: str) -> Iterator[Found]:
        for head in self.head.finditer(text):
            start = head.start() - 2
            wanted = checks.IBAN_LENGTHS.get(text[start : start + 2].upper())
            end = None if wanted is None else self._end(text, head.end(), wanted - 4)
            if end is not None and checks.is_iban(text[start:end]):
                yield Found(start, end, Kind.IBAN)

    def _end(self, text: str, at: int, left: int) -> int | None:
        """Where so many letters and digits end, in groups or not; None when others follow."""
        while left and at < len(text):
            if text[at].isalnum() and text[at].isascii():
                left -= 1
            elif text[at] not in " -" or not text[at - 1].isalnum():
                return None
            at += 1
        followed = at < len(text) and text[at].isalnum()
        return None if left or followed else at
