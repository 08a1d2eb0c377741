"""deployments.yaml: what it may say, and how its errors help."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints import Endpoints
from endpoints.protocols import SETTINGS
from endpoints.protocols.aml_online import AmlOnlineSettings
from endpoints.protocols.openai import OpenAISettings
from endpoints.settings import ModelSettings, Settings, SettingsError, load

ROOT = Path(__file__).parents[2]

GOOD = """\
models:
  chat:
    description: Talks.
    deployments:
      - name: chat-azure
        protocol: openai
        url: https://r.openai.azure.com
        model: gpt
        api_version: 2024-10-21
        auth: {managed_identity: https://cognitiveservices.azure.com/.default}
        timeout_seconds: ${SECONDS}
      - name: chat-aml
        protocol: aml_online
        url: ${CHAT_URL}
        deployment: blue
        auth: {key: "${CHAT_KEY}"}
        max_request_bytes: 1_500_000
"""
ENVIRON = {
    "SECONDS": "30",
    "CHAT_URL": "https://e.inference.ml.azure.com/score",
    "CHAT_KEY": "hunter2",
}


def parse(tmp_path: Path, text: str, environ: dict[str, str] = ENVIRON) -> Settings:
    file = tmp_path / "deployments.yaml"
    file.write_text(text, encoding="utf-8")
    return load(file, environ)


def errors(tmp_path: Path, text: str, environ: dict[str, str] = ENVIRON) -> list[str]:
    """What is wrong with a file, one line a finding, from `LINE: FIELD` on."""
    with pytest.raises(SettingsError) as raised:
        parse(tmp_path, text, environ)
    prefix = f"{tmp_path / 'deployments.yaml'}:"
    return [line.removeprefix(prefix) for line in str(raised.value).splitlines()]


def test_a_good_file(tmp_path: Path) -> None:
    azure, aml = parse(tmp_path, GOOD).models["chat"].deployments
    assert isinstance(azure, OpenAISettings)
    assert azure.api_version == "2024-10-21"
    assert azure.timeout_seconds == 30
    assert isinstance(aml, AmlOnlineSettings)
    assert aml.url == "https://e.inference.ml.azure.com/score"
    assert aml.max_request_bytes == 1_500_000
    assert aml.auth is not None
    assert aml.auth.key is not None
    assert aml.auth.key.get_secret_value() == "hunter2"


def test_the_shipped_file_needs_nothing_but_its_app_settings() -> None:
    text = (ROOT / "deployments.yaml").read_text(encoding="utf-8")
    with pytest.raises(SettingsError) as raised:
        load(ROOT / "deployments.yaml", {})
    missing = [finding.expected.split()[3] for finding in raised.value.findings]
    assert missing
    assert all(f"${{{name}}}" in text for name in missing)
    models = load(ROOT / "deployments.yaml", dict.fromkeys(missing, "http://localhost/v1")).models
    assert models.keys() >= {"embed", "chat"}


def test_every_error_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    assert errors(
        tmp_path,
        """\
models:
  chat:
    descripton: Talks.
    deployments:
      - name: a
        protocol: openai
        url: ${NOT_SET}
        model: gpt
        auth: {key: "two words"}
      - name: a
        protocol: aml_onlin
        url: anything
      - name: b
        protocol: aml_online
        url: r.openai.azure.com
        timeout_seconds: 0
        modle: gpt
        auth: {kye: k}
      - protocol: openai
        name: [c]
        model: gpt
  chat: {deployments: []}
  empty: {deployments: []}
  bad name: {deployments: {}}
model: {}
""",
    ) == [
        "3: models.chat.descripton: expected one of the fields "
        + ", ".join(ModelSettings.model_fields),
        "7: models.chat.deployments[0].url: expected the app setting NOT_SET to be set",
        "9: models.chat.deployments[0].auth.key: expected a key of printable ASCII characters "
        "without spaces",
        "10: models.chat.deployments[1].name: expected a name of its own: line 5 has it too",
        f"11: models.chat.deployments[1].protocol: expected one of {', '.join(SETTINGS)}",
        "15: models.chat.deployments[2].url: expected an absolute http:// or https:// URL, "
        "without user, password or fragment",
        "16: models.chat.deployments[2].timeout_seconds: expected a number greater than 0",
        "17: models.chat.deployments[2].modle: expected one of the fields "
        + ", ".join(AmlOnlineSettings.model_fields),
        "18: models.chat.deployments[2].auth.kye: expected one of the fields key, managed_identity",
        "19: models.chat.deployments[3].url: expected a value: the field is required",
        "20: models.chat.deployments[3].name: expected text",
        "22: models.chat: expected each name once; it is on line 2 too",
        "23: models.empty.deployments: expected at least one",
        "24: models.bad name: expected text that matches ^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$",
        "24: models.bad name.deployments: expected a list",
        "25: model: expected one of the fields models",
    ]


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("{key: ", "{managed_identity: https://ml.azure.com/.default, key: ", "exactly one of"),
        ('auth: {key: "${CHAT_KEY}"}', "auth: {}", "exactly one of: key, managed_identity"),
        ("/.default", "/", r"text that matches ^\S+/\.default$"),
        ("https://r.openai.azure.com", "https://r/openai/v1", "url to end before /openai"),
        ("https://r.openai.azure.com", "https://r/embeddings", "url to be the base URL"),
        ("chat-aml", "chat/aml", "text that matches"),
        ("deployment: blue", "deployment: a_b", "text that matches"),
        ("        model: gpt\n", "", "a value: the field is required"),
        ("api_version: 2024-10-21", "api_version: a b", "text that matches"),
        ("${SECONDS}", "4000", "a number less than or equal to 3600"),
        ("1_500_000", "-1", "a number greater than 0"),
    ],
)
def test_further_rules(tmp_path: Path, old: str, new: str, error: str) -> None:
    assert old in GOOD
    (line,) = errors(tmp_path, GOOD.replace(old, new))
    assert f"expected {error}" in line


@pytest.mark.parametrize(
    "url",
    [
        "", "host/score", "//host/score", "ftp://host/score", "file:///etc/passwd", "http://",
        "http:///score", "http://user:word@host/", "http://user@host/", "http://host/#part",
        "http://host:99999/", "http://host:port/", "http://[::1", "http://ho st/", "http://host\n/",
    ],
)  # fmt: skip
def test_addresses_that_are_not_accepted(tmp_path: Path, url: str) -> None:
    (line,) = errors(tmp_path, GOOD, ENVIRON | {"CHAT_URL": url or " "})
    assert line.startswith("14: models.chat.deployments[1].url: expected an absolute")


@pytest.mark.parametrize("url", ["http://host", "https://host:8443/a/b?c=d", "http://[::1]:80/"])
def test_addresses_that_are_accepted(tmp_path: Path, url: str) -> None:
    assert (
        parse(tmp_path, GOOD, ENVIRON | {"CHAT_URL": url}).models["chat"].deployments[1].url == url
    )


def test_a_pasted_keys_newline_is_forgiven(tmp_path: Path) -> None:
    auth = (
        parse(tmp_path, GOOD, ENVIRON | {"CHAT_KEY": "hunter2\n"})
        .models["chat"]
        .deployments[1]
        .auth
    )
    assert auth is not None
    assert auth.key is not None
    assert auth.key.get_secret_value() == "hunter2"


@pytest.mark.parametrize("text", ["", "[]", "models:", "models: 3", "models: {chat: }"])
def test_files_of_another_shape(tmp_path: Path, text: str) -> None:
    (line,) = errors(tmp_path, text)
    assert line.endswith("expected a mapping of names to values")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xff"])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "deployments.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match="expected a readable UTF-8 file"):
        load(file, {})


secrets = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=20)


@given(secret=secrets, fault=st.sampled_from(["none", "url", "kind", "extra", "number", "space"]))
def test_a_key_shows_nowhere(
    tmp_path_factory: pytest.TempPathFactory, secret: str, fault: str
) -> None:
    text = {
        "none": GOOD,
        "url": GOOD.replace("${CHAT_URL}", '"${CHAT_KEY}"'),
        "kind": GOOD.replace("aml_online", '"${CHAT_KEY}"'),
        "extra": GOOD.replace('{key: "${CHAT_KEY}"}', '{kye: "${CHAT_KEY}"}'),
        "number": GOOD.replace("${SECONDS}", '"${CHAT_KEY}"'),
        "space": GOOD.replace('"${CHAT_KEY}"', '"a ${CHAT_KEY}"'),
    }[fault]
    environ = ENVIRON | {"CHAT_KEY": secret}
    try:
        shown = repr(parse(tmp_path_factory.getbasetemp(), text, environ))
        assert fault == "none"
    except SettingsError as error:
        shown = str(error) + repr(error.findings)
        assert fault != "none"
    assert secret not in shown


def test_listing_shows_no_address_and_no_key(tmp_path: Path) -> None:
    file = tmp_path / "deployments.yaml"
    file.write_text(GOOD, encoding="utf-8")
    models = Endpoints.load(file, ENVIRON).models
    assert [each.name for each in models["chat"].deployments] == ["chat-azure", "chat-aml"]
    assert [each.protocol for each in models["chat"].deployments] == ["openai", "aml_online"]
    assert models["chat"].description == "Talks."
    assert "hunter2" not in repr(models)
    assert "https://" not in repr(models)
