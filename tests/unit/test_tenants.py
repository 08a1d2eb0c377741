"""tenants.yaml: what it says, and every way in which it may be wrong."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from devhost.issuer.signing_key import SigningKey
from endpoints.settings import SettingsError
from policies.tenants import Tenants, load

ROOT = Path(__file__).parents[2]


def read(tmp_path: Path, text: str, **environ: str) -> Tenants:
    path = tmp_path / "tenants.yaml"
    path.write_text(dedent(text))
    return load(path, environ)


def findings(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        read(tmp_path, text)
    name = str(tmp_path / "tenants.yaml")
    return [line.removeprefix(name) for line in str(raised.value).splitlines()]


def test_the_example_is_as_expected():
    tenants = load(ROOT / "tenants.example.yaml", {})
    assert tenants.names == ["ops", "research", "sales"]
    assert tenants.of("research").quotas.requests_per_minute == 1200
    assert tenants.of("research").quotas.tokens_per_minute == 200_000
    assert tenants.of("sales").quotas.requests_per_minute == 600
    assert tenants.of("sales").quotas.models is None


def test_what_the_docs_say_of_identity_is_as_expected(tmp_path):
    section = (ROOT / "docs" / "tenants.md").read_text().partition("\n## Identity\n")[2]
    shown = section.partition("```yaml\n")[2].partition("```")[0]
    tenants = read(tmp_path, shown.replace("DIRECTORY", "1"))
    assert len(tenants.of("research").members) == 2


def test_a_tenants_own_fields_go_before_the_defaults_one_by_one(tmp_path):
    tenants = read(
        tmp_path,
        """
        defaults:
          quotas:
            requests_per_minute: 10
            weight: 2
            per_model: {chat: {requests_per_minute: 1}, embed: {requests_per_minute: 2}}
          privacy: {retention: {results: P30D, files: P1D}}
        tenants:
          a:
            quotas: {requests_per_minute: null, per_model: {chat: {tokens_per_minute: 5}}}
            privacy: {retention: {files: P7D}}
          b:
        """.replace("  b:\n", "  b: {}\n"),
    )
    quotas = tenants.of("a").quotas
    assert (quotas.requests_per_minute, quotas.weight) == (None, 2)
    assert quotas.per_model["chat"].tokens_per_minute == 5
    assert quotas.per_model["chat"].requests_per_minute is None
    assert quotas.per_model["embed"].requests_per_minute == 2
    retention = tenants.of("a").privacy.retention
    assert (retention.results.days, retention.files.days) == (30, 7)
    assert tenants.of("b").quotas.requests_per_minute == 10


def test_who_is_not_named_has_the_defaults(tmp_path):
    tenants = read(tmp_path, "{defaults: {quotas: {weight: 3}}, tenants: {a: {}}}")
    assert tenants.of("gone").quotas.weight == 3
    assert Tenants().of("default").quotas.requests_per_minute is None


def test_settings_of_the_app_may_stand_in_it(tmp_path):
    text = """
        identity:
          issuers: [{issuer: "${ISSUER}", audience: a, jwks_url: "https://i.example/keys"}]
        tenants: {a: {}}
    """
    tenants = read(tmp_path, text, ISSUER="https://i.example")
    assert tenants.identity.issuers[0].issuer == "https://i.example"
    assert tenants.identity.issuers[0].audience == ("a",)


def test_everything_that_is_wrong_is_told_at_once_with_its_line(tmp_path):
    found = findings(
        tmp_path,
        """\
        identity:
          issuers:
            - issuer: https://i.example
              audience: []
              jwks_url: http://i.example/keys
              clock_skew_seconds: 3600
            - {issuer: https://j.example, audience: a}
        defaults:
          quotas:
            wait: 3
            weight: -1
        tenants:
          Research: {}
          "a/b": {}
          ok:
            more: 1
            members: [{issuer: https://i.example, claim: groups}]
        """,
    )
    assert [line.split(": expected ")[0] for line in found] == [
        ":4: identity.issuers[0].audience",
        ":5: identity.issuers[0].jwks_url",
        ":6: identity.issuers[0].clock_skew_seconds",
        ":7: identity.issuers[1]",
        ":10: defaults.quotas.wait",
        ":11: defaults.quotas.weight",
        ":13: tenants.Research",
        ":14: tenants.a/b",
        ":16: tenants.ok.more",
        ":17: tenants.ok.members[0].value",
    ]
    told = "\n".join(found)
    assert "exactly one of: jwks_url, keys" in told
    assert "one of the fields requests_per_minute" in told
    assert "a number greater than 0" in told


KEY = SigningKey.make("EdDSA").published


@pytest.mark.parametrize(
    ("issuer", "expected"),
    [
        ({"keys": []}, "at least one"),
        ({"keys": [KEY | {"d": "AAAA"}]}, "without their private parts"),
        ({"keys": [{"kty": "oct", "k": "AAAA"}]}, "public keys of the types"),
        ({"keys": [KEY], "jwks_url": "https://i.example/keys"}, "exactly one of"),
        ({"jwks_url": "https://i.example/keys", "signs_messages": True}, "keys, those of the"),
        ({"jwks_url": "https://u:p@i.example/keys"}, "https:// URL"),
        ({"jwks_url": "file:///etc/passwd"}, "https:// URL"),
        ({"jwks_url": "https://"}, "https:// URL"),
        ({"keys": [KEY], "issuer": "has a space"}, "text that matches"),
    ],
)
def test_an_issuer_that_could_not_be_believed(tmp_path, issuer: dict[str, Any], expected):
    told = {"issuer": "https://i.example", "audience": "a"} | issuer
    [finding] = findings(tmp_path, f"{{identity: {{issuers: [{told}]}}, tenants: {{a: {{}}}}}}")
    assert expected in finding
    assert "AAAA" not in finding


def test_an_issuer_twice(tmp_path):
    one = {"issuer": "https://i.example", "audience": "a", "keys": [KEY]}
    found = findings(tmp_path, f"{{identity: {{issuers: [{one}, {one}]}}, tenants: {{a: {{}}}}}}")
    assert "each issuer once" in found[0]


def test_names_that_stand_for_nothing(tmp_path):
    text = """\
        service_bus: {unsigned_tenant: gone}
        tenants:
          a:
            members:
              - {issuer: https://other.example, claim: groups, value: g}
    """
    assert [line.split(": expected ")[0] for line in findings(tmp_path, text)] == [
        ":1: service_bus.unsigned_tenant",
        ":5: tenants.a.members[0].issuer",
    ]
    # What the platform has proved may be of any issuer.
    read(tmp_path, dedent(text).replace("gone", "a") + "identity: {platform: true}\n")


@pytest.mark.parametrize("text", ["", "[]", "tenants: {}", "tenants: []", "{", "tenants: null"])
def test_a_file_that_names_no_tenant_is_no_way_to_open_every_door(tmp_path, text):
    assert findings(tmp_path, text)


def test_a_file_that_is_not_there_is_told_as_such(tmp_path):
    with pytest.raises(SettingsError, match="a readable UTF-8 file"):
        load(tmp_path / "none.yaml", {})
