"""One spelling for texts that only look different: what a reader would not notice is taken away."""
# ruff: noqa: RUF001 (letters that are easily confused are what this is about)

from __future__ import annotations

import re
import unicodedata

_INVISIBLE = (
    0x00AD,  # soft hyphen
    0x034F,  # combining grapheme joiner
    0x061C,  # Arabic letter mark
    0x180E,
    *range(0x200B, 0x2010),  # zero width, marks of direction
    *range(0x202A, 0x202F),  # embeddings and overrides of direction
    *range(0x2060, 0x2070),
    *range(0xFE00, 0xFE10),  # variation selectors
    0xFEFF,
)
_TAG = re.compile("[\U000e0020-\U000e007e]")
"""An invisible copy of a character of ASCII, which models read."""
_TAGS_FROM = 0xE0000
_QUOTES = "“”„‟«»‹›「」『』〝〞＂"
_APOSTROPHES = "’‘‛´＇ʼ"
_STOPS = {"。": ".", "、": ",", "؟": "?", "،": ",", "؛": ";", "।": ".", "¿": " ", "¡": " "}

_PLAIN: dict[str, str] = {
    **dict.fromkeys(map(chr, _INVISIBLE), ""),
    **dict.fromkeys(_QUOTES, '"'),
    **dict.fromkeys(_APOSTROPHES, "'"),
    **_STOPS,
    "ı": "i",
    "ł": "l",
    "đ": "d",
    "ø": "o",
}
_ODD = re.compile(f"[{re.escape(''.join(_PLAIN))}]")
_ACCENTS = re.compile("[\u0300-\u036f]+")

_LOOKALIKES = str.maketrans(
    "авекмнорстухіјѕԁҽһӏԛԝѵցɑɡοαενρτυικη",
    "abekmhopctyxijsdehlqwvgagoaevptuikn",
)
_OF_TWO_SCRIPTS = re.compile(r"[a-z][\u0370-\u04ff\u0500-\u052f]|[\u0370-\u04ff\u0500-\u052f][a-z]")
_WORD = re.compile(r"[^\W\d_]+")


def fold(text: str) -> str:
    """Lower case; without accents, invisible characters and fonts made of symbols (NFKC).

    Words of Latin letters mixed with others that look the same are made Latin.
    """
    if text.isascii():
        return text.lower()
    folded = _ACCENTS.sub("", unicodedata.normalize("NFKD", text)).casefold()
    if folded.isascii():
        return folded
    folded = _TAG.sub(_untagged, _ODD.sub(_plain, folded))
    folded = unicodedata.normalize("NFC", folded)
    if _OF_TWO_SCRIPTS.search(folded):
        folded = _WORD.sub(_as_latin, folded)
    return folded


def _plain(match: re.Match[str]) -> str:
    return _PLAIN[match[0]]


def _untagged(match: re.Match[str]) -> str:
    return chr(ord(match[0]) - _TAGS_FROM).lower()


def _as_latin(match: re.Match[str]) -> str:
    word = match[0]
    latin = word.translate(_LOOKALIKES)
    return latin if latin.isascii() else word
