"""Screens that count: bursts, repeated prompts, shared keys; in bounded memory, without content."""

from __future__ import annotations

import gc
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.identity.bounded import Bounded
from policies.screening import key_sharing, rate, repetition
from policies.screening.key_sharing import KeyUses
from policies.screening.material import Material, Said, of_call
from policies.screening.rate import Rates
from policies.screening.repetition import Repetitions
from policies.screening.sender import Origin, Sender
from policies.screening.settings import KeySharingSettings, RateSettings, RepetitionSettings

ME = Sender("research", "key:1")
LONG = " ".join(f"word{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(200))
CANARY = "canarywordthatnobodykeeps"


def chat(text: str) -> Material:
    return Material([Said(text)], messages=1)


# Rate.

PACE = RateSettings(decision="flag", least_per_minute=10, times_usual=3)


def send(rates: Rates, times: int, minute: float, who: Sender = ME) -> list[str | None]:
    return [rates.burst(who, PACE, minute * 60) for _ in range(times)]


def test_what_was_always_usual_is_no_burst():
    rates = Rates()
    told = [each for minute in range(60) for each in send(rates, 9, minute)]
    assert set(told) == {None}


def test_far_more_than_usual_is_a_burst_of_the_key():
    rates = Rates()
    for minute in range(90):
        send(rates, 8, minute)
    told = send(rates, 40, 90)
    assert told[:20] == [None] * 20
    assert told[-1] == "key_burst"


def test_many_keys_of_one_tenant_are_a_burst_of_the_tenant():
    rates = Rates()
    told = [send(rates, 1, 0, Sender("research", f"key:{n}"))[0] for n in range(12)]
    assert told == [None] * 10 + ["tenant_burst"] * 2


def test_what_goes_on_becomes_usual():
    rates = Rates()
    told = [send(rates, 30, minute)[-1] for minute in range(120)]
    assert told[0] == "key_burst"
    assert told[-1] is None


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 3)), max_size=50))
def test_no_order_of_times_breaks_it(asked):
    rates = Rates()
    for seconds, who in asked:
        assert rates.burst(Sender("t", str(who)), PACE, seconds) in (
            None,
            "key_burst",
            "tenant_burst",
        )


# Repetition.

AGAIN = RepetitionSettings(decision="flag", times=5, within_seconds=60)


def ask(seen: Repetitions, texts: Iterable[str], now: float = 0.0) -> list[str | None]:
    return [seen.repeated(ME, chat(text), AGAIN, now) for text in texts]


def test_the_same_prompt_too_often_is_told():
    assert ask(Repetitions(), ["How are you?"] * 7) == [None] * 5 + ["same_prompt"] * 2


def test_case_digits_and_punctuation_make_no_difference():
    variants = ["Buy it now!", "buy it now 1", "BUY, it: now 22", "buy it... now", "Buy it now?"]
    assert ask(Repetitions(), [*variants, "buy it now"])[-1] == "same_prompt"


def test_a_word_more_in_a_long_prompt_makes_little_difference():
    texts = [f"{LONG} extra{chr(97 + n)}" for n in range(20)]
    assert "same_prompt" in ask(Repetitions(), texts)


def test_one_template_for_many_things_is_no_repetition():
    things = [f"{LONG[:300]} " + " ".join(f"{chr(97 + n)}{each}" for each in LONG.split()[:60])
              for n in range(26)]  # fmt: skip
    assert set(ask(Repetitions(), things)) == {None}


def test_a_while_later_it_is_counted_anew():
    seen = Repetitions()
    ask(seen, ["How are you?"] * 5)
    assert ask(seen, ["How are you?"], now=61) == [None]


def test_another_key_is_not_blamed():
    seen = Repetitions()
    ask(seen, ["How are you?"] * 9)
    assert seen.repeated(Sender("research", "key:2"), chat("How are you?"), AGAIN, 0) is None


def test_what_the_application_says_does_not_count():
    seen = Repetitions()
    for n in range(20):
        said = of_call(
            {
                "messages": [
                    {"role": "system", "content": LONG},
                    {"role": "user", "content": f"{chr(97 + n)}nother thing"},
                ]
            }
        )
        assert seen.repeated(ME, said, AGAIN, 0) is None


# Key sharing.

SHARE = KeySharingSettings(decision="flag", networks=3, agents=3, within_seconds=60)


def use(uses: KeyUses, address: str, agent: str | None = None, now: float = 0.0) -> str | None:
    return uses.shared(Sender("research", "key:1", Origin((address,), agent)), SHARE, now)


def test_a_key_from_many_networks_is_told():
    uses = KeyUses()
    assert [use(uses, f"203.0.{n}.9:5000") for n in range(5)] == [None] * 3 + ["many_networks"] * 2


def test_one_network_is_one_however_many_machines_it_has():
    uses = KeyUses()
    assert {use(uses, f"203.0.113.{n}") for n in range(50)} == {None}
    assert {use(uses, f"[2001:db8:1::{n:x}]:443") for n in range(50)} == {None}


def test_a_key_from_many_programs_is_told():
    uses = KeyUses()
    assert [use(uses, "203.0.113.9", f"agent/{n}") for n in range(4)][-1] == "many_agents"


def test_places_are_forgotten_in_time():
    uses = KeyUses()
    for n in range(3):
        use(uses, f"203.0.{n}.9")
    assert use(uses, "203.0.200.9", now=61) is None


def test_an_address_that_is_none_says_nothing():
    uses = KeyUses()
    assert {use(uses, text) for text in ("unknown", "", "1.2.3", "::zz", "_hidden")} == {None}


def test_what_a_caller_claims_beyond_the_proxies_is_not_believed():
    uses = KeyUses()
    for n in range(20):
        forged = Origin((f"198.51.{n}.1", "203.0.113.7"))
        assert uses.shared(Sender("research", "key:1", forged), SHARE, 0) is None


@given(st.text(max_size=40), st.integers(1, 4))
def test_no_header_breaks_it(text, proxies):
    network = Origin(tuple(text.split(","))).network(proxies)
    assert network is None or "/" in network


# Memory.


@settings(max_examples=20)
@given(st.integers(1, 40), st.integers(0, 200))
def test_what_is_bounded_stays_so(most, added):
    kept: Bounded[int, int] = Bounded(most)
    for n in range(added):
        kept.put(n, n)
    assert len(kept) == min(most, added)


def test_memory_is_bounded_and_keeps_no_content(monkeypatch):
    for module in (rate, repetition, key_sharing):
        monkeypatch.setattr(module, "MOST_KEPT", 50)
    rates, seen, uses = Rates(), Repetitions(), KeyUses()
    for n in range(500):
        who = Sender("research", f"{CANARY}{n}", Origin((f"10.{n % 250}.0.1",), f"{CANARY}{n}"))
        rates.burst(who, PACE, n)
        seen.repeated(who, chat(f"{CANARY} {n:b}".replace("1", "x").replace("0", "y")), AGAIN, n)
        uses.shared(who, SHARE, n)
        uses.shared(Sender("research", "one", who.origin), SHARE, 0)
    assert all(len(part) <= 50 for part in (rates._paces, seen._seen, uses._uses))
    gc.collect()
    kept = [rates._paces, seen._seen, uses._uses]
    reached = 0
    while kept and reached < 100_000:
        part = kept.pop()
        reached += 1
        assert not (isinstance(part, str) and CANARY in part)
        if not isinstance(part, type):
            kept += [each for each in gc.get_referents(part) if not isinstance(each, type)]
    assert reached > 500
