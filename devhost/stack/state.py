"""The folder in which a stack keeps everything: locked, private, and cleared only on request."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import JsonValue

STACK_FILE = "stack.json"
# All that a stack puts there; --fresh removes these and nothing else.
_DATA = ("azurite", "hub", "service_bus", "host", "ledger", "logs", STACK_FILE, "front.json")
_KEY_FILE = "api_key"
_LOCK_FILE = "lock"


class StateInUse(Exception):
    """Another stack runs on this folder."""


class StateFolder:
    """Paths and files of one stack's folder; `locked` opens it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stack_file = path / STACK_FILE

    def log(self, name: str) -> Path:
        return self.path / "logs" / f"{name}.log"

    def data(self, name: str) -> Path:
        """A folder for one child's data, made if need be."""
        folder = self.path / name
        folder.mkdir(exist_ok=True)
        return folder

    def api_key(self) -> str:
        """The same at every start on this folder."""
        path = self.path / _KEY_FILE
        if not path.exists():
            write_private(path, secrets.token_urlsafe(32))
        return path.read_text()

    def write_stack(self, facts: Mapping[str, JsonValue]) -> None:
        write_private(self.stack_file, json.dumps(facts, indent=2) + "\n")

    def prepare(self, *, fresh: bool) -> None:
        """Clear what an earlier run left: everything if `fresh`, else its logs and addresses."""
        for name in _DATA if fresh else ("logs", STACK_FILE):
            path = self.path / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        self.data("logs")


@contextmanager
def locked(path: Path) -> Iterator[StateFolder]:
    """Open a state folder for one stack alone. Raises StateInUse."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (path / _LOCK_FILE).open("a+", encoding="utf-8") as lock:
        if not _take(lock.fileno()):
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            msg = f"Another stack (pid {holder}) runs on {path}; stop it, or name another --state."
            raise StateInUse(msg)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield StateFolder(path)


def write_private(path: Path, text: str) -> None:
    """Write whole or not at all, readable by this user only."""
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    partial.replace(path)


def _take(descriptor: int) -> bool:
    """Lock until this process ends, however it ends."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
