"""The patterns, each with its check.

Time grows with the text's length alone: a pattern begins only where a run of its characters does,
and every repetition is bounded. Where a pattern looks behind it does so after its first character:
Python's engine then passes over all others at once. Before a pattern is tried at all, the text is
asked for something that each of its matches has.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from policies.privacy import checks
from policies.privacy.finders import Cards, Detector, Emails, Ibans
from policies.privacy.finding import Found
from policies.privacy.kinds import Kind

_DIGIT = re.compile("[0-9]")


def _pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    return re.compile(text, re.VERBOSE | re.ASCII | flags)


_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"

TEXTUAL: tuple[Detector, ...] = (
    Detector(
        Kind.LOGIN,
        _pattern(r"(?<=://) (?P<it>[^\s/@:'\"<>]{1,128}:[^\s/@'\"<>]{1,256}) (?=@)"),
        hints=("://",),
    ),
    Detector(
        Kind.KEY,  # RFC 7519: two parts of JSON in base64url, whose first characters are `{"`
        _pattern(r"(?<![\w-]) eyJ[\w-]{8,4096} \. eyJ[\w-]{8,16384} \. [\w-]{0,2048}"),
        hints=("eyJ",),
    ),
    Detector(
        Kind.KEY,
        _pattern(
            r"(?<![\w-]) (?: (?:AKIA|ASIA)[A-Z0-9]{16} | gh[pousr]_[A-Za-z0-9]{36,255}"
            r" | github_pat_\w{22,255} | sk-[\w-]{20,255} | AIza[\w-]{35}"
            r" | xox[abprs]-[A-Za-z0-9-]{10,255} | glpat-[\w-]{20,64} ) (?![\w-])"
        ),
        hints=("AKIA", "ASIA", "gh", "sk-", "AIza", "xox", "glpat-"),
    ),
    Detector(
        Kind.KEY,  # connection strings and shared access signatures of Azure, secrets of AWS
        _pattern(
            r"(?: (?:Account|SharedAccess|Shared\ Access)Key=(?P<azure>[A-Za-z0-9+/]{40,120}={0,2})"
            r" | [?&;]sig=(?P<sas>[A-Za-z0-9%+/=]{20,128})"
            r" | aws_?secret_?(?:access_?)?key[\"'\s]{0,4}[:=][\"'\s]{0,4}[A-Za-z0-9/+]{40} )",
            re.IGNORECASE,
        ),
        hints=("Key=", "key=", "KEY=", "sig=", "ecret", "ECRET"),
    ),
    Detector(
        Kind.KEY,  # RFC 7468
        _pattern(
            r"-----BEGIN\ (?:[A-Z]{1,12}\ ){0,2}PRIVATE\ KEY-----"
            r"[A-Za-z0-9+/=\\nr\s:,-]{16,16384}?-----END\ (?:[A-Z]{1,12}\ ){0,2}PRIVATE\ KEY-----"
        ),
        hints=("PRIVATE KEY",),
    ),
    Detector(
        Kind.PASSPORT,
        _pattern(
            r"(?: (?<![A-Z0-9<]) P[A-Z<][A-Z<]{42} \s{1,4} )?"
            r"(?<![A-Z0-9<]) [A-Z0-9<]{9}[0-9][A-Z<]{3}[0-9]{7}[MFX<][0-9]{7}"
            r"[A-Z0-9<]{14}[0-9<][0-9]"
        ),
        checks.is_passport,
        hints=("<",),
    ),
    Detector(
        Kind.IP,
        _pattern(
            r"(?<![\w:.]) (?=[0-9A-F:]*[0-9]) (?: [0-9A-F]{1,4}(?::[0-9A-F]{1,4}){7}"
            r" | (?:[0-9A-F]{1,4}:){0,6}[0-9A-F]{0,4}::(?:[0-9A-F]{1,4}:){0,6}[0-9A-F]{0,4} )"
            r" (?![\w:])",
            re.IGNORECASE,
        ),
        checks.is_address,
        gate=_pattern(r":(?::|[0-9A-Fa-f]{1,4}:)"),
    ),
)
"""Where a text need not have digits."""

NUMERIC: tuple[Detector, ...] = (
    Detector(
        Kind.SSN,
        _pattern(r"[0-8](?<![\w-][0-9]) [0-9]{2}([ -])[0-9]{2}\1[0-9]{4} (?![\w-])"),
        checks.is_ssn,
    ),
    Detector(
        Kind.SSN,
        _pattern(
            r"(?: \b SSN | social\ security ) [^0-9\n]{0,24} (?P<it>[0-9]{9}) (?![0-9])",
            re.IGNORECASE,
        ),
        checks.is_ssn,
        hints=("SSN", "ssn", "ocial"),
    ),
    Detector(
        Kind.NINO,
        _pattern(
            r"[A-CEGHJ-PR-TW-Z](?<!\w[A-Z]) [A-CEGHJ-NPR-TW-Z]"
            r"(?:[ ]?[0-9]{2}){3}[ ]?[A-D] (?!\w)"
        ),
        checks.is_nino,
    ),
    Detector(
        Kind.TAX_ID,
        _pattern(r"[1-9](?<![\w.,-][0-9]) [0-9][ ]?[0-9]{3}[ ]?[0-9]{3}[ ]?[0-9]{3} (?![\w-])"),
        checks.is_tax_id,
    ),
    Detector(
        Kind.IP,
        _pattern(rf"(?=[0-9])(?<![\w.]) (?:{_OCTET}\.){{3}}{_OCTET} (?!\w|\.[0-9])"),
        checks.is_address,
        gate=_pattern(r"\.[0-9]{1,3}\.[0-9]"),
    ),
    Detector(
        Kind.PHONE,  # E.123: the international form
        _pattern(r"(?<![\w+])(?<![0-9]\ ) (?:\+|00)[1-9] (?:[ .()/-]{0,2}[0-9]){7,14} (?![0-9])"),
        checks.is_phone,
        hints=("+", "00"),
    ),
    Detector(
        Kind.PHONE,  # North America
        _pattern(
            r"[1-9(](?<![\w.,+-].) (?: (?<=\()[2-9][0-9]{2}\)[ ]?"
            r" | (?<=[2-9])[0-9]{2}[-.] | (?<=1)[-.][2-9][0-9]{2}[-.] )"
            r"[2-9][0-9]{2}[-. ][0-9]{4} (?![\w-])"
        ),
        checks.is_phone,
    ),
    Detector(
        Kind.PHONE,  # Europe: a leading zero, in groups
        _pattern(
            r"[0(](?<![\w.,+/-].)(?<![0-9]\ .)"
            r" (?: (?<=\()0[1-9][0-9]{1,4}\)[ ]?[0-9]{3,8}(?:[ -][0-9]{2,8}){0,2}"
            r" | (?<=0)[1-9][0-9]{1,4}[ /-][0-9]{3,8}(?:[ -][0-9]{2,8}){0,2}"
            r" | (?<=0)[1-9](?:[ .][0-9]{2}){4} ) (?![\w-])"
        ),
        lambda text: 9 <= len(checks.digits(text)) <= 13 and checks.is_phone(text),
        hints=("0",),
    ),
    Detector(
        Kind.PHONE,  # mobiles of the UK, Germany and France in one run
        _pattern(r"0(?<![\w.,+/-]0)(?:7[0-9]{9}|1[567][0-9]{8,9}|[67][0-9]{8}) (?![\w-])"),
        checks.is_phone,
        hints=("0",),
    ),
    Detector(
        Kind.PHONE,  # said to be one
        _pattern(r"[0-9](?<![\w.,-][0-9]) (?:[ ().-]{0,2}[0-9]){6,14} (?![0-9])"),
        checks.is_phone,
        after=_pattern(
            r"\b(?:phone|telephone|tel|mobile|cell|fax|call|handy|mobil|telefon)\w{0,3}\b"
            r"[^0-9\n]{0,16}$",
            re.IGNORECASE,
        ),
    ),
)
"""Where a text without digits has none."""


@dataclass(frozen=True, slots=True)
class Patterns:
    """The detectors of these kinds, as one finder."""

    textual: tuple[Detector | Emails, ...]
    numeric: tuple[Detector | Cards | Ibans, ...]

    @classmethod
    def of(cls, kinds: Collection[Kind]) -> Patterns:
        numeric: list[Detector | Cards | Ibans] = []
        if Kind.CARD in kinds:
            numeric.append(Cards())
        if Kind.IBAN in kinds:
            numeric.append(Ibans())
        numeric += [each for each in NUMERIC if each.kind in kinds]
        textual: list[Detector | Emails] = [Emails()] if Kind.EMAIL in kinds else []
        textual += [each for each in TEXTUAL if each.kind in kinds]
        return cls(tuple(textual), tuple(numeric))

    def find(self, text: str) -> Iterator[Found]:
        for textual in self.textual:
            yield from textual.find(text)
        if _DIGIT.search(text) is not None:
            for numeric in self.numeric:
                yield from numeric.find(text)
