"""What else a text can be read as: what was encoded, spelt backwards or spaced out.

Each reading is tried only where the text shows a sign of it, and on a bounded part of the text.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
from collections.abc import Iterator
from urllib.parse import unquote

from policies.screening.injection.folding import fold
from policies.screening.injection.glance import Glance

MOST_CHARACTERS = 8192
"""Of one encoded piece that are read."""
MOST_PIECES = 8
"""Encoded pieces of a text that are read."""
_FEWEST_LETTERS = 8
_PRINTABLE_SHARE = 0.9

_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_LONG_WORD = 16
"""Characters of a piece of base64 between its + and /."""
_SIGNS = ("ignore", "disregard", "forget", "reveal", "instructions", "guidelines", "prompt")
_ESCAPE = re.compile(r"\\(?:u00|x)([0-9a-fA-F]{2})")
_ROT13 = frozenset(codecs.encode(word, "rot13") for word in _SIGNS)
_BACKWARDS = frozenset(word[::-1] for word in _SIGNS)
_SPACED = re.compile(r"[ .\-_*|/]\w[ .\-_*|/]\w[ .\-_*|/]\w[ .\-_*|/]")
_RUN = re.compile(r"(?<![^\W_])[^\W_](?:[ .\-_*|/]{1,4}[^\W_](?![^\W_])){4,}")
_NOT_LETTERS = re.compile(r"[\W_]+")
_DIGIT_IN_WORD = re.compile("[013457@$][a-z]")
_LEET = re.compile(r"[a-z][013457@$][a-z013457@$]|[013457@$][a-z]{2}|[a-z][013457@$]{2}")
_DIGITS = str.maketrans("0134579@$", "oieastgas")
_STUCK = re.compile(
    "ignore|disregard|forget|override|reveal|print|show|all|every|previous|prior|above|your|the|"
    "system|hidden|secret|instructions|prompt|rules|guidelines|restrictions|without|filters|and|"
    "answer|you|are|now|dan|no|do|not|anything"
)


def other_readings(text: str, folded: str, seen: Glance) -> Iterator[str]:
    """Folded, what else it can be read as. `folded` is `fold(text)`, `seen` a glance at it."""
    if seen.longest >= _LONG_WORD:
        yield from _decoded(text)
    if not _ROT13.isdisjoint(seen.words):
        yield codecs.encode(folded, "rot13")
    if not _BACKWARDS.isdisjoint(seen.words):
        yield folded[::-1]
    if _SPACED.search(folded):
        yield " ".join(map(_joined, _RUN.findall(folded[: MOST_CHARACTERS * 2])))
    if _DIGIT_IN_WORD.search(folded) and _LEET.search(folded):
        yield folded.translate(_DIGITS)
    if "\\u00" in text or "\\x" in text:
        yield fold(_ESCAPE.sub(_unescaped, text))
    if "&#" in text:
        yield fold(html.unescape(text))
    if "%20" in text:
        yield fold(unquote(text))


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 16))


def _joined(run: str) -> str:
    """The words of `i g n o r e   a l l`: by their gaps, or by what they are known for."""
    letters = _NOT_LETTERS.sub("", run)
    return " ".join(_STUCK.findall(letters))


def _decoded(text: str) -> Iterator[str]:
    for number, match in enumerate(_ENCODED.finditer(text)):
        if number == MOST_PIECES:
            return
        for plain in (_of_hex(match[0]), _of_base64(match[0])):
            if plain is not None:
                yield fold(plain)


def _of_hex(piece: str) -> str | None:
    try:
        return _printable(bytes.fromhex(piece[:MOST_CHARACTERS]))
    except ValueError:
        return None


def _of_base64(piece: str) -> str | None:
    cut = piece.rstrip("=")[:MOST_CHARACTERS]
    padded = cut + "=" * (-len(cut) % 4)
    try:
        return _printable(base64.b64decode(padded, altchars=b"-_" if "-" in cut else None))
    except (binascii.Error, ValueError):
        return None


def _printable(content: bytes) -> str | None:
    try:
        plain = content.decode()
    except UnicodeDecodeError:
        return None
    shown = sum(char.isprintable() or char.isspace() for char in plain)
    readable = len(plain) >= _FEWEST_LETTERS and shown >= _PRINTABLE_SHARE * len(plain)
    return plain if readable else None
