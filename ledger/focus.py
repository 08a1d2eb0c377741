"""Usage as CSV, under the column names of FOCUS 1.2 where they fit, and others as it wants: `x_`.

https://focus.finops.org/focus-specification/v1-2/
"""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta
from typing import get_args

from contracts.calls import AttemptOutcome
from contracts.usage import UsageReport, UsageRow
from ledger.exact import text

OUTCOMES: tuple[str, ...] = get_args(AttemptOutcome)


def to_csv(report: UsageReport) -> str:
    """One line a row, after the names of the columns."""
    out = io.StringIO()
    rows = [_columns(report, row) for row in report.data]
    empty = _columns(report, UsageRow())
    writer = csv.DictWriter(out, list(empty), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _columns(report: UsageReport, row: UsageRow) -> dict[str, str | int | float | None]:
    since = row.day or report.since
    until = row.day + timedelta(days=1) if row.day else report.until
    cost = text(row.cost)
    return {
        "BilledCost": cost,
        "BillingCurrency": row.currency,
        "ChargeCategory": "Usage",
        "ChargeDescription": _description(row),
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodEnd": _midnight(until),
        "ChargePeriodStart": _midnight(since),
        "ConsumedQuantity": row.requests,
        "ConsumedUnit": "Requests",
        "ContractedCost": cost,
        "EffectiveCost": cost,
        "ListCost": cost,
        "ProviderName": "Sluice",
        "ResourceId": row.deployment,
        "ResourceName": row.deployment,
        "ResourceType": "Deployment",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": row.model,
        "SubAccountId": row.tenant,
        "SubAccountName": row.tenant,
        "x_Version": row.version,
        "x_Flow": row.flow,
        "x_Idle": "true" if row.idle else "false",
        "x_InputTokens": row.input_tokens,
        "x_OutputTokens": row.output_tokens,
        "x_Seconds": row.seconds,
        "x_MirroredRequests": row.mirrored,
        "x_EstimatedRequests": row.estimated_requests,
        "x_EstimatedCost": text(row.estimated_cost),
        **{f"x_Requests_{outcome}": row.outcomes.get(outcome, 0) for outcome in OUTCOMES},
    }


def _description(row: UsageRow) -> str:
    if row.idle:
        return "Idle hours of dedicated deployments"
    return "Requests to models"


def _midnight(day: date) -> str:
    return f"{day.isoformat()}T00:00:00Z"
