"""Check digits, and other rules that tell a number from its like.

Each takes the text as it was found, separators included.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from itertools import cycle

_CARDS = (
    # ISO/IEC 7812 ranges of the issuers' own publications: leading digits, lengths.
    (re.compile("4"), {13, 16, 19}),
    (re.compile("5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), {16}),
    (re.compile("3[47]"), {15}),
    (re.compile("6011|64[4-9]|65"), {16, 19}),
    (re.compile("30[0-5]|3[689]"), {14, 16, 19}),
    (re.compile("35(?:2[89]|[3-8])"), {16, 17, 18, 19}),
    (re.compile("62"), {16, 17, 18, 19}),
    (re.compile("5[06-8]|6[37]"), {16, 18, 19}),
)

IBAN_LENGTHS = {
    # SWIFT's IBAN registry.
    **dict.fromkeys(("NO",), 15),
    **dict.fromkeys(("BE",), 16),
    **dict.fromkeys(("DK", "FO", "FI", "GL", "NL", "SD", "FK"), 18),
    **dict.fromkeys(("MK", "SI"), 19),
    **dict.fromkeys(("AT", "BA", "EE", "KZ", "LT", "LU", "XK", "MN"), 20),
    **dict.fromkeys(("HR", "LV", "LI", "CH"), 21),
    **dict.fromkeys(("BH", "BG", "CR", "GE", "DE", "IE", "ME", "RS", "GB", "VA"), 22),
    **dict.fromkeys(("TL", "GI", "IL", "IQ", "AE", "SO", "OM"), 23),
    **dict.fromkeys(("AD", "CZ", "MD", "PK", "RO", "SA", "SK", "ES", "SE", "TN", "VG"), 24),
    **dict.fromkeys(("PT", "ST", "LY"), 25),
    **dict.fromkeys(("IS", "TR"), 26),
    **dict.fromkeys(("FR", "GR", "IT", "MC", "MR", "SM", "BI", "DJ"), 27),
    **dict.fromkeys(("AL", "AZ", "BY", "CY", "DO", "SV", "GT", "HU", "LB", "PL", "NI"), 28),
    **dict.fromkeys(("BR", "PS", "QA", "UA"), 29),
    **dict.fromkeys(("JO", "KW", "MU", "YE"), 30),
    **dict.fromkeys(("MT", "SC"), 31),
    **dict.fromkeys(("LC",), 32),
    **dict.fromkeys(("RU",), 33),
}
"""Characters of an IBAN, by country."""


def digits(text: str) -> str:
    """The digits alone."""
    return "".join(c for c in text if "0" <= c <= "9")


def is_card(number: str) -> bool:
    """An issuer's range and length, and the check digit of ISO/IEC 7812 (Luhn)."""
    plain = digits(number)
    if not any(prefix.match(plain) and len(plain) in lengths for prefix, lengths in _CARDS):
        return False
    return luhn(plain)


def luhn(number: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_iban(text: str) -> bool:
    """The country's length, and ISO 7064 MOD 97-10."""
    plain = "".join(c for c in text if c.isalnum()).upper()
    if IBAN_LENGTHS.get(plain[:2]) != len(plain):
        return False
    moved = plain[4:] + plain[:4]
    return int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def is_ssn(text: str) -> bool:
    """The ranges that the US Social Security Administration has never given out are none."""
    plain = digits(text)
    area, group, serial = plain[:3], plain[3:5], plain[5:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def is_nino(text: str) -> bool:
    """HMRC's NIM39110: prefixes that are not used."""
    return text[:2].upper() not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def is_tax_id(text: str) -> bool:
    """Of its first ten digits one comes twice or three times and the others once at most;
    ISO 7064 MOD 11,10 (Bundeszentralamt für Steuern, Steuer-IdNr)."""
    plain = digits(text)
    if len(plain) != 11 or plain[0] == "0":
        return False
    often = [times for times in Counter(plain[:10]).values() if times > 1]
    if len(often) != 1 or often[0] > 3:
        return False
    product = 10
    for digit in plain[:10]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(plain[10])


def is_passport(lines: str) -> bool:
    """ICAO 9303 part 4: the check digits of the second line of a passport's machine-readable
    zone."""
    line = lines.rstrip()[-44:]
    whole = line[0:10] + line[13:20] + line[21:43]
    return (
        _icao(line[0:9]) == line[9]
        and _icao(line[13:19]) == line[19]
        and _icao(line[21:27]) == line[27]
        and _icao(whole) == line[43]
    )


def _icao(field: str) -> str:
    total = sum(
        (0 if c == "<" else int(c, 36)) * weight
        for c, weight in zip(field, cycle((7, 3, 1)), strict=False)
    )
    return str(total % 10)


def is_address(text: str) -> bool:
    """An IP address that may tell of somebody."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or address.is_multicast)


def is_phone(text: str) -> bool:
    """E.164: at most 15 digits; fewer than 7 are no subscriber's."""
    plain = digits(text)
    return 7 <= len(plain) <= 16 and len(set(plain)) > 2
