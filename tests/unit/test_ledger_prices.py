"""What a request costs."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.calls import Task, Usage
from endpoints.protocols.common_settings import Price
from endpoints.settings import Settings, SettingsError, load
from ledger.prices import Prices
from tests.unit.ledger_fakes import record
from wiring.ledger import dedicated, prices

TOKENS = {"input_per_million_tokens": 0.15, "output_per_million_tokens": "0.6"}


def of(**price: object) -> Prices:
    return Prices({"blue": Price.model_validate(price)})


@pytest.mark.parametrize(
    ("price", "cost"),
    [
        (TOKENS, Decimal("0.00000405")),
        ({"per_request": "0.01"}, Decimal("0.01")),
        ({"per_second": 2}, Decimal("1")),
        (TOKENS | {"per_request": 1, "per_second": 1}, Decimal("1.50000405")),
        ({"dedicated": {"per_hour": 5}}, Decimal(0)),
    ],
)
def test_an_answer_costs_what_it_used(price, cost):
    bill = of(**price).bill(record())
    assert (bill.cost, bill.currency, bill.estimated) == (cost, "USD", False)
    assert bill.usage == Usage(7, 5, 1)


def test_a_deployment_without_a_price_costs_nothing_in_no_currency():
    bill = of(**TOKENS).bill(record(deployment="red"))
    assert (bill.cost, bill.currency) == (0, None)


def test_a_mirrored_request_is_nobodys_cost():
    assert of(**TOKENS, per_request=1).cost(record(mirrored=True)) == 0


@pytest.mark.parametrize("outcome", ["unknown", "cancelled"])
def test_what_nobody_heard_the_end_of_is_estimated_by_its_request(outcome):
    bill = of(**TOKENS, per_request=1).bill(record(outcome=outcome, request_bytes=4003))
    assert bill.estimated
    assert bill.usage == Usage(input_tokens=1000, requests=1)
    assert bill.cost == 1 + Decimal("0.15") / 1000


def test_what_is_told_is_not_estimated():
    bill = of(**TOKENS).bill(record(outcome="unknown", usage=Usage(7, 2, 1)))
    assert (bill.estimated, bill.usage.input_tokens) == (False, 7)


def test_what_speaks_no_tokens_is_estimated_to_have_none():
    bill = of(**TOKENS, per_request=1).bill(record(outcome="unknown", task=Task.SCORE))
    assert (bill.cost, bill.usage) == (1, Usage(requests=1))


@pytest.mark.parametrize("outcome", ["failed", "throttled", "rejected", "not_connected"])
def test_what_a_deployment_does_not_do_costs_nothing(outcome):
    assert of(**TOKENS, per_request=1, per_second=1).cost(record(outcome=outcome)) == 0


amounts = st.decimals(min_value=0, max_value=10**6, places=12)


@given(
    input_price=amounts,
    second=amounts,
    tokens=st.integers(0, 10**9),
    seconds=st.floats(0, 10**6),
)
def test_a_cost_is_exact(input_price, second, tokens, seconds):
    costly = of(input_per_million_tokens=input_price, per_second=second)
    cost = costly.cost(record(usage=Usage(tokens, 0, 1), seconds=seconds))
    assert Fraction(cost) == Fraction(input_price) * tokens / 10**6 + Fraction(second) * Fraction(
        round(seconds * 10**6), 10**6
    )


@pytest.mark.parametrize(
    "price",
    [
        {},
        {"currency": "EUR"},
        {"currency": "euro", "per_request": 1},
        {"per_request": -1},
        {"per_request": "NaN"},
        {"per_request": "1e-13"},
        {"per_request": 1, "dedicated": {"per_hour": 1}},
        {"dedicated": {}},
        {"dedicated": {"gpus": 2}},
        {"dedicated": {"per_hour": 1, "gpus": 2}},
        {"dedicated": {"per_hour": 1, "per_gpu_hour": 1}},
        {"dedicated": {"per_hour": 1, "since": "2030-01-01T00:00:00"}},
    ],
)
def test_a_price_that_says_too_little_or_too_much_is_refused(price):
    with pytest.raises(ValidationError):
        Price.model_validate(price)


FILE = """
models:
  chat:
    deployments:
      - {name: a, protocol: openai, url: http://a, model: x, version: v1,
         price: {currency: EUR, dedicated: {per_gpu_hour: 1.1, gpus: 3}}, max_concurrency: 7}
      - {name: b, protocol: openai, url: http://b, model: x, price: {currency: EUR, per_request: 1}}
      - {name: c, protocol: openai, url: http://c, model: x}
"""


def test_prices_are_found_by_deployment(tmp_path):
    file = tmp_path / "deployments.yaml"
    file.write_text(FILE)
    declared = load(file, {})
    assert prices(declared).cost(record(deployment="b")) == 1
    [rate] = dedicated(declared).values()
    assert (rate.deployment, rate.model, rate.version) == ("a", "chat", "v1")
    assert (rate.hourly, rate.currency, rate.concurrency) == (Decimal("3.3"), "EUR", 7)


@pytest.mark.parametrize(
    ("field", "line", "expected"),
    [
        ("price: {}", 6, "prices by tokens"),
        ("price: {per_token: 1}", 6, "input_per_million_tokens"),
        ("price: {dedicated: {per_day: 1}}", 6, "per_gpu_hour"),
        ("price: {per_request: 1, currency: GBP}", None, "one currency"),
    ],
)
def test_the_file_says_what_is_wrong_with_a_price(tmp_path, field, line, expected):
    file = tmp_path / "deployments.yaml"
    file.write_text(
        "models:\n  m:\n    deployments:\n"
        "      - {name: a, protocol: openai, url: http://a, model: x, price: {per_request: 1}}\n"
        f"      - name: b\n        {field}\n        protocol: openai\n        url: http://b\n"
        "        model: x\n"
    )
    with pytest.raises(SettingsError, match=expected) as raised:
        load(file, {})
    [finding] = raised.value.findings
    assert finding.line in (line, 1)


def test_all_deployments_are_found():
    declared = Settings.model_validate(
        {
            "models": {
                name: {"deployments": [{"name": name, "protocol": "openai", "url": "http://a",
                                        "model": "x"}]}
                for name in ("m", "n")
            }
        }
    )  # fmt: skip
    assert [(model, each.name) for model, each in declared.deployments] == [("m", "m"), ("n", "n")]
