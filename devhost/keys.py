"""`./dev keys create|list|rotate|revoke`: API keys of a service that knows tenants.

A new key is written to standard output alone, so that it can go straight to where it is kept; what
is said of it goes to standard error. With --storage, `create` needs no service and no key: it
writes to the storage account itself, which is how the first key comes to be.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

import wiring
from contracts.errors import SluiceError
from contracts.identity import Identity, Role
from contracts.key_records import IssuedKey, KeyList, KeyRecord, KeyRequest
from contracts.keys import read_key
from devhost.service import ServiceFailed, add_service_options, ask, local_stack, session_of
from policies.key_issuing import KeyIssuing
from stores.blobs import StorageAccount

STORAGE_OWNER = "storage-account"
"""In the audit log: whoever may write to the storage account, with no other proof of who it was."""
_HINT = (
    "Give an API key with the role operate, by --key or in SLUICE_KEY. While there is none:"
    " ./dev keys create --storage"
)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(options.run(options))
    except ServiceFailed as error:
        _tell(str(error))
        if error.status == 401:
            _tell(_HINT)
        return 1
    except SluiceError as error:
        _tell(error.detail)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./dev keys", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="create|list|rotate|revoke")
    create = commands.add_parser("create", help="issue a key")
    create.add_argument("--tenant", required=True, help="of tenants.yaml")
    create.add_argument("--roles", required=True, help=f"some of {','.join(Role)}")
    create.add_argument("--models", help="some of the tenant's models; else all")
    create.add_argument("--flows", help="some of the tenant's flows; else all")
    create.add_argument("--days", type=float, help="after which it expires; else it does not")
    create.add_argument("--note", help="what it is for")
    create.add_argument(
        "--storage",
        nargs="?",
        const="",
        metavar="URL",
        help="issue it in this storage account, without the service (https://NAME.blob.core.windows"
        ".net, as whoever is logged in to Azure); without URL that of the app settings in the"
        " environment, else that of ./dev start",
    )
    listed = commands.add_parser("list", help="all keys, without what opens anything")
    listed.add_argument("--tenant", help="of one tenant alone")
    rotate = commands.add_parser("rotate", help="issue a key in the place of another")
    rotate.add_argument("id", help="of the key, or the whole key")
    rotate.add_argument("--grace-hours", type=float, help="how long the old one goes on; else 24")
    rotate.add_argument("--days", type=float, help="after which the new one expires; else as now")
    revoke = commands.add_parser("revoke", help="have a key open nothing any more")
    revoke.add_argument("id", help="of the key, or the whole key")
    for command, run in ((create, _create), (listed, _list), (rotate, _rotate), (revoke, _revoke)):
        add_service_options(command)
        command.set_defaults(run=run)
    return parser


async def _create(options: argparse.Namespace) -> None:
    asked = _request(options)
    if options.storage is not None:
        await _create_in_storage(asked, _account(options.storage))
        return
    async with session_of(options) as session:
        body = asked.model_dump(mode="json", exclude_none=True)
        _show_new(IssuedKey.model_validate_json(await ask(session, "POST", "/v1/keys", body)))


async def _create_in_storage(asked: KeyRequest, account: StorageAccount) -> None:
    async with account.open() as service:
        keys = wiring.key_store(lambda: service, os.environ)
        audit = wiring.audit_log(lambda: service, os.environ)
        who = Identity(asked.tenant, STORAGE_OWNER, frozenset(Role))
        issued = await KeyIssuing(keys, audit).issue(who, asked)
    _tell(f"Key {issued.key.id} of tenant {asked.tenant}: {', '.join(sorted(asked.roles))}.")
    _say(issued.text)


async def _list(options: argparse.Namespace) -> None:
    keys: list[KeyRecord] = []
    query = "" if options.tenant is None else f"&tenant={quote(options.tenant, safe='')}"
    async with session_of(options) as session:
        after = ""
        while True:
            text = await ask(session, "GET", f"/v1/keys?limit=1000{query}{after}")
            page = KeyList.model_validate_json(text)
            keys += page.data
            if not page.has_more:
                break
            after = f"&after={page.next_after}"
    for key in sorted(keys, key=lambda key: key.created_at, reverse=True):
        _say(_line(key))


async def _rotate(options: argparse.Namespace) -> None:
    body: dict[str, Any] = {}
    if options.grace_hours is not None:
        body["grace_seconds"] = round(options.grace_hours * 3600)
    if options.days is not None:
        body["expires_at"] = _in_days(options.days).isoformat()
    async with session_of(options) as session:
        text = await ask(session, "POST", f"{_path(options)}/rotate", body)
    issued = IssuedKey.model_validate_json(text)
    if issued.replaces is not None and issued.replaces.revoked_at is not None:
        _tell(f"Key {options.id} goes on until {_time(issued.replaces.revoked_at)}.")
    _show_new(issued)


async def _revoke(options: argparse.Namespace) -> None:
    async with session_of(options) as session:
        key = KeyRecord.model_validate_json(await ask(session, "DELETE", _path(options)))
    _say(_line(key))


def _request(options: argparse.Namespace) -> KeyRequest:
    """Raises ServiceFailed, naming what is not as expected."""
    try:
        return KeyRequest.model_validate(
            {
                "tenant": options.tenant,
                "roles": _names(options.roles),
                "models": _names(options.models),
                "flows": _names(options.flows),
                "expires_at": None if options.days is None else _in_days(options.days),
                "note": options.note,
            }
        )
    except ValidationError as error:
        found = error.errors()[0]
        raise ServiceFailed(f"--{found['loc'][0]}: {found['msg']}") from None


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]


def _in_days(days: float) -> datetime:
    try:
        return datetime.now(UTC) + timedelta(days=days)
    except OverflowError:
        raise ServiceFailed("--days: too many") from None


def _account(url: str) -> StorageAccount:
    if url:
        if not url.startswith("https://"):
            raise ServiceFailed("--storage: https://NAME.blob.core.windows.net, or nothing")
        return StorageAccount(blob_url=url)
    settings: dict[str, str] = dict(os.environ)
    if not any(name.startswith(("AzureWebJobsStorage", "SLUICE_STORAGE")) for name in settings):
        settings["AzureWebJobsStorage"] = str(local_stack()["blob"])
    return wiring.storage_account(settings)


def _path(options: argparse.Namespace) -> str:
    """Of a key that is named by its id, or by itself: its secret belongs in no address."""
    key = read_key(options.id)
    return f"/v1/keys/{quote(options.id if key is None else key.id, safe='')}"


def _show_new(key: IssuedKey) -> None:
    _tell(_line(key))
    _tell("It is shown this once. Send it as `Authorization: Bearer KEY`.")
    _say(key.key)


def _line(key: KeyRecord) -> str:
    facts = [key.id, key.status, key.tenant, ",".join(key.roles)]
    facts += [f"models {','.join(key.models)}"] if key.models is not None else []
    facts += [f"flows {','.join(key.flows)}"] if key.flows is not None else []
    facts += [f"until {_time(end)}" for end in (key.revoked_at or key.expires_at,) if end]
    facts += [key.note] if key.note else []
    return "  ".join(facts)


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
