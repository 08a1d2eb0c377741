"""What a request costs, by the price of the deployment that it was sent to.

    outcome                 tokens               request   seconds
    answered, pending       as reported          billed    billed
    unknown, cancelled      as reported, else    billed    billed
                            the input, estimated
    any other               as reported          -         -

A model may have run for a request that nobody heard the end of, and its provider bills it. What a
deployment refused or failed is no tenant's cost. Mirrored requests are the operator's wish, and a
dedicated deployment is paid by the hour: both cost nothing here, and are counted all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from contracts.calls import Task, Usage, UsageRecord
from endpoints.protocols.common_settings import Price
from ledger.exact import EXACT, ZERO, seconds

BILLED = frozenset({"answered", "pending", "unknown", "cancelled"})
ESTIMATED = frozenset({"unknown", "cancelled"})
BYTES_OF_A_TOKEN = 4
"""Of a request, where tokens have to be estimated."""


@dataclass(frozen=True, slots=True)
class Bill:
    """A record's usage as it is billed."""

    usage: Usage
    estimated: bool
    """Whether the deployment has not said what was used."""
    cost: Decimal
    currency: str | None
    """None where the deployment has no price."""


@dataclass(frozen=True, slots=True)
class _Rates:
    """Of one token, one request and one second."""

    currency: str
    input: Decimal
    output: Decimal
    request: Decimal
    second: Decimal

    def cost(self, usage: Usage, microseconds: int) -> Decimal:
        cost = EXACT.multiply(self.input, Decimal(usage.input_tokens))
        cost = EXACT.fma(self.output, Decimal(usage.output_tokens), cost)
        if self.request:
            cost = EXACT.fma(self.request, Decimal(usage.requests), cost)
        if self.second:
            cost = EXACT.fma(self.second, seconds(microseconds), cost)
        return cost


class Prices:
    """Of deployments, by their names."""

    def __init__(self, prices: Mapping[str, Price]) -> None:
        self._rates = {name: _rates(price) for name, price in prices.items()}

    def cost(self, record: UsageRecord) -> Decimal:
        """What the tenant pays for the request, exactly."""
        return self.bill(record).cost

    def bill(self, record: UsageRecord) -> Bill:
        attempt, usage = record.attempt, record.attempt.usage
        outcome = attempt.outcome
        estimated = outcome in ESTIMATED and not (usage.input_tokens or usage.output_tokens)
        if estimated:
            usage = _estimate(record)
        rates = self._rates.get(attempt.deployment)
        if rates is None:
            return Bill(usage, estimated, ZERO, None)
        if record.mirrored:
            return Bill(usage, estimated, ZERO, rates.currency)
        billed = outcome in BILLED
        paid = usage if billed else Usage(usage.input_tokens, usage.output_tokens)
        cost = rates.cost(paid, round(attempt.seconds * 1_000_000) if billed else 0)
        return Bill(usage, estimated, cost, rates.currency)


def _estimate(record: UsageRecord) -> Usage:
    speaks_tokens = record.task is not Task.SCORE
    tokens = record.request_bytes // BYTES_OF_A_TOKEN if speaks_tokens else 0
    return Usage(input_tokens=tokens, requests=1)


def _rates(price: Price) -> _Rates:
    return _Rates(
        currency=price.currency,
        input=(price.input_per_million_tokens or ZERO).scaleb(-6, EXACT),
        output=(price.output_per_million_tokens or ZERO).scaleb(-6, EXACT),
        request=price.per_request or ZERO,
        second=price.per_second or ZERO,
    )
