"""Decimal arithmetic that raises rather than rounds: sums of money are right to the last unit."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Context, Decimal, DivisionByZero, Inexact, InvalidOperation

EXACT = Context(prec=60, traps=[Inexact, InvalidOperation, DivisionByZero])
"""Prices have 20 digits, counts of tokens and microseconds fewer than 20."""
UNIT = Decimal("0.000000000001")
"""The smallest amount that a divided cost is rounded to."""
_WIDE = Context(prec=60, rounding=ROUND_FLOOR, traps=[InvalidOperation, DivisionByZero])

ZERO = Decimal(0)


def text(amount: Decimal) -> str:
    """Without an exponent, and without zeros that say nothing."""
    return f"{amount.normalize(EXACT):f}"


def seconds(microseconds: int) -> Decimal:
    return Decimal(microseconds).scaleb(-6, EXACT)


def share(amount: Decimal, part: int, whole: int) -> Decimal:
    """`amount * part / whole`, rounded down to UNIT."""
    exact = _WIDE.divide(_WIDE.multiply(amount, Decimal(part)), Decimal(whole))
    return exact.quantize(UNIT, context=_WIDE)
