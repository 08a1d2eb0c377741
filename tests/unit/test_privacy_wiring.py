"""Whose rules hold: tenants.yaml's, or one setting for an app that has none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from contracts.batches import FileObject
from policies.privacy.retention import dated, expired
from policies.privacy.settings import PrivacySettings, RetentionSettings
from policies.tenants import Tenants, TenantSection
from wiring.privacy import LazyRedaction, privacy_of

MONTH, YEAR = timedelta(days=30), timedelta(days=365)


def tenants(**kept: timedelta) -> Tenants:
    return Tenants(
        tenants={
            name: TenantSection(privacy=PrivacySettings(retention=RetentionSettings(files=each)))
            for name, each in kept.items()
        }
    )


def test_nothing_is_deleted_by_default():
    assert privacy_of(Tenants(), None)("default").retention.keeps_all


def test_one_setting_for_everybody_where_there_are_no_tenants():
    rules = privacy_of(Tenants(), MONTH)("default").retention
    assert (rules.requests, rules.results, rules.files, rules.batches) == (MONTH,) * 4


def test_tenants_say_it_themselves():
    rules = privacy_of(tenants(a=YEAR), MONTH)
    assert rules("a").retention.files == YEAR
    assert rules("gone").retention.keeps_all, "what `defaults` says holds for it"


def test_the_same_rules_each_time_so_that_patterns_are_compiled_once():
    for rules in (privacy_of(Tenants(), MONTH), privacy_of(tenants(a=YEAR), None)):
        assert rules("a") is rules("a")


async def test_redaction_by_the_tenants_rules():
    redaction = LazyRedaction(privacy_of(Tenants(), None))
    redacted = await redaction.redacted(["a@example.com"], "default")
    assert redacted is not None
    assert redacted.payload == ["<EMAIL_1>"]


def test_a_file_has_its_time():
    file = FileObject(id="f", bytes=0, created_at=1000, filename="x", purpose="batch")
    rules = RetentionSettings(files=timedelta(seconds=10))
    assert dated(file, RetentionSettings()).expires_at is None
    assert dated(file, rules).expires_at == 1010
    assert not expired(file, rules, datetime.fromtimestamp(1009, UTC))
    assert expired(file, rules, datetime.fromtimestamp(1010, UTC))
    assert not expired(file, RetentionSettings())
