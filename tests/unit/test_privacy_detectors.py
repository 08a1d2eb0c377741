"""What the patterns find in texts, and how well they do on the labelled ones."""

from __future__ import annotations

import time

import pytest

from policies.privacy import checks
from policies.privacy.detectors import NUMERIC, TEXTUAL, Patterns
from policies.privacy.finders import Cards, Emails, Ibans
from policies.privacy.kinds import Kind
from policies.privacy.redaction import finder_of
from policies.privacy.settings import PrivacySettings
from tests.unit.privacy_labelled import labelled, score

ALL = finder_of(PrivacySettings())


def test_precision_and_recall_on_the_labelled_texts():
    result = score(ALL, labelled())
    report = f"precision {result.precision:.3f}, recall {result.recall:.3f}: {result.right}"
    print(report)
    assert result.right.total() >= 65, "most texts hold something"
    assert set(result.right) == set(Kind), "each kind is found somewhere"
    assert result.precision >= 0.95, f"{report}\n{result.wrong}"
    assert result.recall >= 0.95, f"{report}\n{result.missed}"


def test_precision_and_recall_on_texts_that_nothing_was_tuned_for():
    result = score(ALL, labelled("held_out"))
    report = f"precision {result.precision:.3f}, recall {result.recall:.3f}: {result.right}"
    print(report)
    assert result.precision >= 0.9, f"{report}\n{result.wrong}"
    assert result.recall >= 0.9, f"{report}\n{result.missed}"


@pytest.mark.parametrize("kind", Kind)
def test_a_kind_that_is_not_named_is_not_looked_for(kind):
    others = Patterns.of(set(Kind) - {kind})
    only = Patterns.of({kind})
    for each in labelled():
        assert all(found.kind != kind for found in others.find(each.text))
        assert all(found.kind == kind for found in only.find(each.text))


HOSTILE = (
    "a",
    "a.",
    "a@",
    "@a.",
    "1",
    "1 ",
    "1-",
    "0 1",
    "0044 ",
    "+1",
    "(0",
    "1.1.",
    ":",
    "a:",
    "1:",
    "::1",
    "://a:",
    "eyJ",
    "eyJaaaaaaaaaa.",
    "sk-",
    "sk-a",
    "DE89 ",
    "DE89",
    "P<",
    "A<",
    "-----BEGIN PRIVATE KEY-----",
    "AccountKey=",
    "&sig=",
    "phone ",
    "phone 1 ",
    "SSN ",
    "aws_secret",
)


@pytest.mark.parametrize("piece", HOSTILE)
def test_time_grows_with_the_text_alone(piece):
    """A pattern that backtracks would take hours of this; the limit is a slow machine's."""
    text = piece * (200_000 // len(piece))
    began = time.process_time()
    for finder in (*TEXTUAL, *NUMERIC, Emails(), Cards(), Ibans()):
        for _ in finder.find(text):
            pass
    assert time.process_time() - began < 60


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (checks.is_card, "4111111111111111", "4111111111111112"),
        (checks.is_card, "5105105105105100", "9105105105105100"),
        (checks.is_iban, "GB29NWBK60161331926819", "GB29NWBK60161331926818"),
        (checks.is_iban, "br1800360305000010009795493c1", "ZZ1800360305000010009795493C1"),
        (checks.is_ssn, "899-99-9999", "900-99-9999"),
        (checks.is_nino, "AB123456C", "GB123456C"),
        (checks.is_tax_id, "65929970489", "65929970488"),
        (checks.is_tax_id, "47036892816", "11111111111"),
        (checks.is_address, "2001:db8::1", "::1"),
        (checks.is_address, "10.0.0.1", "999.0.0.1"),
        (checks.is_phone, "+4930123456", "00 00 00 00"),
    ],
)
def test_each_check(check, right, wrong):
    assert check(right)
    assert not check(wrong)
