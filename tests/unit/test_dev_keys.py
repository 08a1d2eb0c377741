"""What ./dev keys takes, and how operators' commands find the service and show their key."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts.errors import Misconfigured
from contracts.keys import new_key
from devhost import keys, service
from devhost.service import ServiceFailed, key_headers, local_stack, session_of
from devhost.stack import __main__ as start

CREATE = ["create", "--tenant", "research", "--roles", "submit,read"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where no stack runs, with no settings in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("AzureWebJobsStorage", "SLUICE_STORAGE", service.KEY_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def runs(folder: Path) -> None:
    (folder / ".local").mkdir()
    facts = {"http": "http://localhost:7071", "api_key": "platform", "blob": "AccountName=local"}
    (folder / ".local" / "stack.json").write_text(json.dumps(facts))


def options(*arguments: str):
    return keys._parser().parse_args(arguments)


def test_a_request_for_a_key():
    asked = keys._request(options(*CREATE, "--models", "chat, embed", "--note", "CI"))
    assert (asked.tenant, asked.roles) == ("research", {"submit", "read"})
    assert (asked.models, asked.flows, asked.expires_at) == ({"chat", "embed"}, None, None)


@pytest.mark.parametrize("command", ["rotate", "revoke"])
def test_a_key_may_be_named_by_itself_and_its_secret_stays_out_of_the_address(command):
    key = new_key()
    assert keys._path(options(command, key.text)) == f"/v1/keys/{key.id}"
    assert keys._path(options(command, key.id)) == f"/v1/keys/{key.id}"


def test_days_are_from_now():
    expires_at = keys._request(options(*CREATE, "--days", "90")).expires_at
    assert expires_at is not None
    assert abs(expires_at - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=5)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--roles", "own"], "--roles"),
        (["--days", "1e300"], "--days"),
        (["--note", "n" * 300], "--note"),
        (["--models", ""], "--models"),
    ],
)
def test_what_is_no_request_is_said_before_anybody_is_asked(more, says):
    with pytest.raises(ServiceFailed, match=says):
        keys._request(options(*CREATE, *more))


def test_the_storage_account_is_the_one_that_is_named(folder, monkeypatch):
    with pytest.raises(ServiceFailed, match="No stack runs here"):
        keys._account("")
    runs(folder)
    assert keys._account("").connection_string == "AccountName=local"
    monkeypatch.setenv("AzureWebJobsStorage", "AccountName=settings")
    assert keys._account("").connection_string == "AccountName=settings"
    url = "https://account.blob.core.windows.net"
    assert keys._account(url).blob_url == url
    with pytest.raises(ServiceFailed, match="https://"):
        keys._account("account")


def test_settings_that_name_no_account_are_said(folder, monkeypatch):
    monkeypatch.setenv("AzureWebJobsStorage__credential", "managedidentity")
    with pytest.raises(Misconfigured):
        keys._account("")


@pytest.mark.parametrize(
    ("key", "header"),
    [
        (new_key().text, "Authorization"),
        ("eyJhbGciOi.eyJzdWIiOi.c2ln", "Authorization"),
        ("aFunctionsKey-of_the-platform==", "x-functions-key"),
    ],
)
def test_a_key_is_sent_as_what_it_is(key, header):
    [(name, value)] = key_headers(key).items()
    assert name == header
    assert value == (f"Bearer {key}" if header == "Authorization" else key)


def test_no_key_is_none():
    assert key_headers(None) == key_headers("") == {}


async def sent(*arguments: str) -> tuple[str, dict[str, str]]:
    async with session_of(options("list", *arguments)) as session:
        return str(session._base_url), dict(session.headers)


async def test_the_local_stack_is_taken_with_its_key_unless_another_is_given(folder, monkeypatch):
    runs(folder)
    assert await sent() == ("http://localhost:7071", {"x-functions-key": "platform"})
    monkeypatch.setenv(service.KEY_VARIABLE, "a.b.c")
    assert (await sent())[1] == {"Authorization": "Bearer a.b.c"}
    assert (await sent("--key", "mine"))[1] == {"x-functions-key": "mine"}


async def test_another_service_never_gets_the_local_stacks_key(folder):
    runs(folder)
    assert await sent("--url", "https://other.example") == ("https://other.example", {})


async def test_without_a_stack_it_says_what_to_give(folder):
    with pytest.raises(ServiceFailed, match="--url and --key"):
        local_stack()


def test_dev_start_takes_a_file_of_tenants():
    assert start._parser().parse_args(["--tenants", "t.yaml"]).tenants == Path("t.yaml")
    assert start._parser().parse_args([]).tenants is None
