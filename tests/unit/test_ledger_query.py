"""Questions: any grouping sums up to the records, whenever they came."""

from __future__ import annotations

import asyncio
import csv
import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.calls import Usage
from contracts.identity import Identity, Role
from contracts.usage import Grouping
from endpoints.protocols.common_settings import Price
from ledger import query, rates
from ledger.focus import to_csv
from ledger.lines import record_line
from ledger.prices import Prices
from ledger.query import Books, Question
from ledger.rates import Rate, changed
from tests.unit.ledger_fakes import LedgerContainer, record
from triggers.usage import visible

DAY = date(2030, 1, 30)
NOW = datetime(2030, 2, 3, 12, tzinfo=UTC)
PRICES = Prices(
    {
        "blue": Price.model_validate(
            {"input_per_million_tokens": "0.123456789012", "per_second": "0.000000000007"}
        ),
        "own": Price.model_validate({"dedicated": {"per_hour": "3.7"}}),
    }
)
LATER = DAY + timedelta(days=10)


def line(of) -> bytes:
    return record_line(of, PRICES.bill(of))


class Shelf:
    """A ledger's container, and the books over it."""

    def __init__(self) -> None:
        self.container = LedgerContainer(piece_bytes=100)
        self.books = Books(self.container.store, lambda: NOW)

    def put(self, day: date, blob: str, *records) -> None:
        name = f"usage/{day}/{blob}.jsonl"
        there = self.container.blobs.get(name, b"")
        self.container._set(name, there + b"".join(map(line, records)))

    async def rows(self, *by: Grouping, since=DAY, until=LATER, tenant=None):
        return (await self.books.report(Question(since, until, by, tenant))).data

    async def dedicate(self, **fields) -> Rate:
        told = {
            "deployment": "own",
            "model": "chat",
            "version": None,
            "begins": datetime(2030, 1, 30, tzinfo=UTC),
            "hourly": Decimal("3.7"),
            "currency": "USD",
            "concurrency": 1,
        }
        rate = Rate(**told | fields)
        await self.container.store.put_rates(rates._RATES.dump_json([rate]))
        return rate


# Cells.

records = st.builds(
    record,
    request_id=st.uuids().map(str),
    outcome=st.sampled_from(["answered", "failed", "unknown"]),
    tenant=st.sampled_from(["acme", "other"]),
    model=st.sampled_from(["chat", "embed"]),
    deployment=st.sampled_from(["blue", "red", "own"]),
    version=st.sampled_from([None, "v1"]),
    flow=st.sampled_from([None, "answer"]),
    mirrored=st.booleans(),
    seconds=st.floats(0, 10_000),
    usage=st.builds(Usage, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 1)),
)
placed = st.tuples(st.integers(0, 4), st.sampled_from("abc"), records)
groupings = st.lists(st.sampled_from(list(Grouping)), unique=True, max_size=6).map(tuple)


@given(
    batches=st.lists(st.lists(placed, max_size=8), min_size=1, max_size=4),
    by=groupings,
    hourly=st.sampled_from([None, Decimal("3.7"), Decimal("0.000000000001")]),
    concurrency=st.integers(1, 3),
)
def test_rows_sum_up_to_the_records_to_the_last_unit(batches, by, hourly, concurrency):
    """Whatever is asked in between, and however late records come."""
    asyncio.run(_sums(batches, by, hourly, concurrency))


async def _sums(batches, by, hourly, concurrency):
    shelf = Shelf()
    await shelf.dedicate(hourly=hourly, concurrency=concurrency)
    made = []
    for batch in batches:
        for day, blob, each in batch:
            shelf.put(DAY + timedelta(days=day), blob, each)
            made.append(each)
        rows = await shelf.rows(*by)
        bills = [PRICES.bill(each) for each in made]
        assert sum(row.requests for row in rows) == len(made)
        assert sum(row.mirrored for row in rows) == sum(each.mirrored for each in made)
        assert sum(row.input_tokens for row in rows) == sum(b.usage.input_tokens for b in bills)
        assert sum(row.output_tokens for row in rows) == sum(b.usage.output_tokens for b in bills)
        assert sum(row.estimated_requests for row in rows) == sum(b.estimated for b in bills)
        assert sum(row.estimated_cost for row in rows) == sum(b.cost for b in bills if b.estimated)
        assert sum(sum(row.outcomes.values()) for row in rows) == len(made)
        micros = sum(round(round(each.attempt.seconds, 6) * 10**6) for each in made)
        assert sum(round(row.seconds * 10**6) for row in rows) == pytest.approx(micros)
        hours = sum((hourly or Decimal(0)) * each for each in HOURS)
        assert sum(row.cost for row in rows) == sum(bill.cost for bill in bills) + hours


HOURS = (24, 24, 24, 24, 12)
"""Of the days up to now."""


async def test_days_are_read_once_and_late_records_are_counted():
    shelf = Shelf()
    shelf.put(DAY, "a", record("r-1"), record("r-2"))
    [row] = await shelf.rows()
    reads = shelf.container.calls["read"]
    [again] = await shelf.rows()
    assert (row.requests, again) == (2, row)
    assert shelf.container.calls["read"] == reads, "a day that is over is not read again"
    shelf.put(DAY, "a", record("r-3"))
    shelf.put(DAY, "b", record("r-4"))
    [late] = await shelf.rows()
    assert late.requests == 4
    assert shelf.container.calls["read"] == reads + 2, "only what has come since"


async def test_what_is_summed_up_outlives_its_records():
    shelf = Shelf()
    shelf.put(DAY, "a", record("r-1"))
    await shelf.rows()
    del shelf.container.blobs[f"usage/{DAY}/a.jsonl"]
    [row] = await shelf.rows()
    assert row.requests == 1


async def test_the_timer_sums_up_yesterday_and_a_long_today(monkeypatch):
    monkeypatch.setattr(query, "WORTH_KEEPING", 1)
    shelf = Shelf()
    for day in (NOW.date(), NOW.date() - timedelta(days=1)):
        shelf.put(day, "a", record(str(day)))
    await shelf.books.roll_up()
    assert {name for name in shelf.container.blobs if name.startswith("days/")} == {
        "days/2030-02-02.json",
        "days/2030-02-03.json",
    }


async def test_a_line_that_is_no_record_is_told_and_left_out(caplog):
    shelf = Shelf()
    shelf.put(DAY, "a", record("r-1"))
    shelf.container.blobs[f"usage/{DAY}/a.jsonl"] += b'{"tenant": 1}\n'
    [row] = await shelf.rows()
    assert row.requests == 1
    assert "no record" in caplog.text


async def test_days_are_those_from_one_to_before_the_other():
    shelf = Shelf()
    for number in range(4):
        shelf.put(DAY + timedelta(days=number), "a", record(str(number)))
    rows = await shelf.rows(
        Grouping.DAY, since=DAY + timedelta(days=1), until=DAY + timedelta(days=3)
    )
    assert [str(row.day) for row in rows] == ["2030-01-31", "2030-02-01"]


async def test_what_has_no_price_shares_the_row_of_what_has():
    shelf = Shelf()
    shelf.put(DAY, "a", record("r-1", deployment="blue"), record("r-2", deployment="red"))
    [row] = await shelf.rows(Grouping.TENANT)
    assert (row.requests, row.currency) == (2, "USD")
    rows = await shelf.rows(Grouping.DEPLOYMENT)
    assert [(row.deployment, row.currency) for row in rows] == [("blue", "USD"), ("red", None)]


# Who sees what.


@pytest.mark.parametrize(
    ("roles", "seen"),
    [
        ({Role.READ}, "acme"),
        ({Role.READ, Role.SUBMIT}, "acme"),
        ({Role.READ, Role.BILL}, None),
        ({Role.READ, Role.OPERATE}, None),
    ],
)
def test_only_who_bills_or_operates_sees_everybodys(roles, seen):
    assert visible(Identity("acme", "key:1", frozenset(roles))) == seen


async def test_one_tenants_report_tells_of_no_other_and_of_nothing_idle():
    shelf = Shelf()
    await shelf.dedicate()
    shelf.put(DAY, "a", record("r-1", tenant="acme", deployment="own", seconds=36.0))
    shelf.put(DAY, "a", record("r-2", tenant="other", deployment="own", seconds=3600.0))
    [row] = await shelf.rows(Grouping.TENANT, tenant="acme")
    assert (row.tenant, row.requests, row.cost) == ("acme", 1, Decimal("0.037"))


# Dedicated deployments.


async def test_hours_are_split_by_use_and_the_rest_is_idle():
    shelf = Shelf()
    await shelf.dedicate(concurrency=2)
    until = DAY + timedelta(days=1)
    for tenant, hours in (("acme", 12), ("other", 6)):
        shelf.put(DAY, "a", record(tenant, tenant=tenant, deployment="own", seconds=hours * 3600.0))
    shelf.put(DAY, "a", record("m", deployment="own", seconds=3600.0, mirrored=True))
    shelf.put(DAY, "a", record("f", outcome="failed", deployment="own", seconds=3600.0))
    rows = await shelf.rows(Grouping.TENANT, until=until)
    costs = {(row.tenant, row.idle): row.cost for row in rows}
    whole = Decimal("3.7") * 24
    assert costs == {
        ("acme", False): whole / 4,
        ("other", False): whole / 8,
        (None, True): whole * 5 / 8,
    }


async def test_calls_that_overlap_more_than_was_declared_share_the_whole():
    shelf = Shelf()
    await shelf.dedicate(hourly=Decimal(1))
    for tenant in ("a", "b", "c"):
        shelf.put(DAY, "a", record(tenant, tenant=tenant, deployment="own", seconds=90_000.0))
    rows = await shelf.rows(Grouping.TENANT, until=DAY + timedelta(days=1))
    assert [(row.idle, row.cost) for row in rows] == [(False, Decimal(8))] * 3


def rate(**fields) -> Rate:
    told = {
        "deployment": "own",
        "model": "chat",
        "version": None,
        "begins": NOW,
        "hourly": Decimal(2),
        "currency": "USD",
        "concurrency": 1,
    }
    return Rate(**told | fields)


def hours(known, since=datetime(2030, 1, 1, tzinfo=UTC), until=NOW + timedelta(days=1)):
    return [(each.hourly, each.begins, micros) for each, micros in rates.paid(known, since, until)]


HOUR = timedelta(hours=1)


def test_a_price_counts_from_when_it_is_first_read():
    known = changed([], {"own": rate()}, NOW)
    assert hours(known, until=NOW + HOUR) == [(2, NOW, 3600 * 10**6)]
    assert changed(known, {"own": rate(begins=NOW + HOUR)}, NOW + HOUR) == known


def test_a_price_counts_from_its_since():
    before = NOW - 5 * HOUR
    [first] = changed([], {"own": rate(since=before)}, NOW)
    assert first.begins == before


def test_a_price_that_changes_does_not_rewrite_history():
    known = changed([], {"own": rate(since=NOW - HOUR)}, NOW)
    known = changed(known, {"own": rate(since=NOW - HOUR, hourly=Decimal(3))}, NOW)
    assert [(each, micros / 3.6e9) for each, _, micros in hours(known, until=NOW + HOUR)] == [
        (2, 1),
        (3, 1),
    ]
    known = changed(known, {"own": rate(since=NOW - HOUR / 2, hourly=Decimal(4))}, NOW)
    assert [(each, micros / 3.6e9) for each, _, micros in hours(known, until=NOW)] == [
        (2, 0.5),
        (4, 0.5),
    ], "unless the file says since when"


def test_a_deployment_that_is_gone_costs_nothing_from_then_on():
    known = changed([], {"own": rate()}, NOW)
    known = changed(known, {}, NOW + HOUR)
    assert [micros for _, _, micros in hours(known)] == [3600 * 10**6]
    assert changed(known, {}, NOW + 2 * HOUR) == known
    known = changed(known, {"own": rate(begins=NOW + 3 * HOUR)}, NOW + 3 * HOUR)
    assert [micros / 3.6e9 for _, _, micros in hours(known)] == [1, 21]


# CSV.


async def test_csv_has_a_line_for_each_row():
    shelf = Shelf()
    await shelf.dedicate()
    shelf.put(DAY, "a", record("r-1", tenant='a,"b'), record("r-2", outcome="unknown"))
    report = await shelf.books.report(
        Question(DAY, DAY + timedelta(days=1), (Grouping.TENANT, Grouping.FLOW))
    )
    read = list(csv.DictReader(io.StringIO(to_csv(report))))
    assert [row["SubAccountId"] for row in read] == ['a,"b', "acme", ""]
    assert [row["x_Idle"] for row in read] == ["false", "false", "true"]
    assert [row["x_Requests_unknown"] for row in read] == ["0", "1", "0"]
    assert sum(Decimal(row["BilledCost"]) for row in read) == sum(row.cost for row in report.data)
    assert {row["ChargePeriodStart"] for row in read} == {"2030-01-30T00:00:00Z"}
