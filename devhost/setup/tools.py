"""Finds a Python and a Node that really run.

Being on PATH proves nothing: a version manager's shim may stand there for a version that is not
chosen. So every candidate is run, and the managers' own folders are searched as well.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from devhost.setup.console import Stop

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OLDEST_PYTHON = (3, 13)
OLDEST_NODE = 18
NEWEST_MINOR = 16
"""How far names like python3.14 are tried."""

_PYTHON_PROBE = (
    "import sys\n"
    "try: import ensurepip, venv; whole = 1\n"
    "except ImportError: whole = 0\n"
    "print(sys.version_info[0], sys.version_info[1], whole, sys.executable, sep='|')"
)
_ANSWER_SECONDS = 20

# Folders of installed versions, below the home folder or absolute.
_PYTHON_FOLDERS = (
    ".pyenv/versions/*/bin/python",
    ".pyenv/pyenv-win/versions/*/python.exe",
    ".asdf/installs/python/*/bin/python",
    ".local/share/mise/installs/python/*/bin/python",
    ".local/share/uv/python/*/bin/python3",
    "AppData/Roaming/uv/python/*/python.exe",
    "AppData/Local/Programs/Python/*/python.exe",
    "miniconda3/envs/*/bin/python",
    "miniforge3/envs/*/bin/python",
    "anaconda3/envs/*/bin/python",
    "/opt/homebrew/opt/python@3.*/bin/python3.*",
    "/usr/local/opt/python@3.*/bin/python3.*",
    "/home/linuxbrew/.linuxbrew/opt/python@3.*/bin/python3.*",
    "/Library/Frameworks/Python.framework/Versions/3.*/bin/python3",
    "/opt/python/*/bin/python3",
    "/usr/local/bin/python3.*",
)
_NODE_FOLDERS = (
    ".nvm/versions/node/*/bin",
    ".local/share/fnm/node-versions/*/installation/bin",
    "Library/Application Support/fnm/node-versions/*/installation/bin",
    ".asdf/installs/nodejs/*/bin",
    ".local/share/mise/installs/node/*/bin",
    ".volta/bin",
    "/opt/homebrew/bin",
    "/usr/local/bin",
)


@dataclass(frozen=True)
class Python:
    path: str
    version: tuple[int, int]
    whole: bool
    """Has venv and ensurepip, which some Linux distributions split off."""


@dataclass(frozen=True)
class Node:
    folder: str
    """Holds node and npm, and goes first on PATH."""
    npm: str
    version: int


def find_python() -> Python:
    """The first Python that is new enough. Raises Stop when there is none."""
    chosen = os.environ.get("SLUICE_PYTHON")
    candidates = [chosen] if chosen else _python_candidates()
    unfit = None
    for candidate in dict.fromkeys(candidates):
        python = probe_python(candidate)
        if python is None or python.version < OLDEST_PYTHON:
            continue
        if python.whole:
            return python
        unfit = unfit or python
    wanted = ".".join(map(str, OLDEST_PYTHON))
    if unfit:
        minor = unfit.version[1]
        raise Stop(
            f"{unfit.path} lacks venv; on Debian and Ubuntu: apt install python3.{minor}-venv"
        )
    if chosen:
        raise Stop(f"SLUICE_PYTHON={chosen} is not a Python {wanted} or newer that runs.")
    raise Stop(
        f"Python {wanted} or newer is missing (PATH and the folders of version managers were"
        " searched); install it, or name it: SLUICE_PYTHON=/path/to/python ./dev"
    )


def probe_python(path: str) -> Python | None:
    """What this Python says of itself; None when it does not run."""
    answer = _run([path, "-c", _PYTHON_PROBE])
    parts = answer.strip().split("|")
    if len(parts) != 4:
        return None
    return Python(parts[3], (int(parts[0]), int(parts[1])), parts[2] == "1")


def find_node() -> Node:
    """A Node that is new enough, with its npm. Raises Stop when there is none."""
    on_path = [str(Path(found).parent) for found in [shutil.which("node")] if found]
    found = None
    others = sorted(_expand(_NODE_FOLDERS), key=_version_in, reverse=True)
    for folder in chain(on_path, others):
        node = _probe_node(folder)
        if node and node.version >= OLDEST_NODE:
            return node
        found = found or node
    has = f" (found {found.version} in {found.folder})" if found else ""
    raise Stop(f"Node.js {OLDEST_NODE} or newer with npm is missing{has}; see https://nodejs.org")


def _probe_node(folder: str) -> Node | None:
    node, npm = shutil.which("node", path=folder), shutil.which("npm", path=folder)
    npm = npm or shutil.which("npm")
    if not node or not npm:
        return None
    match = re.match(r"v(\d+)\.", _run([node, "--version"]))
    return Node(folder, npm, int(match.group(1))) if match else None


def _python_candidates() -> Iterator[str]:
    if sys.version_info >= OLDEST_PYTHON:
        yield sys.executable
    for minor in range(OLDEST_PYTHON[1], NEWEST_MINOR):
        found = shutil.which(f"python3.{minor}")
        if found:
            yield found
    yield from _version_folders()
    for name in ("python3", "python"):
        found = shutil.which(name)
        if found:
            yield found
    if os.name == "nt":
        yield from _run(["py", "-3", "-c", "import sys; print(sys.executable)"]).split("\n")[:1]


def _version_folders() -> list[str]:
    """Pythons of version managers, the oldest fit one first: the pins were made on 3.13."""
    roots = [os.environ[name] for name in ("PYENV_ROOT", "CONDA_PREFIX") if os.environ.get(name)]
    below = ("versions/*/bin/python", "bin/python")
    patterns = [f"{root}/{each}" for root in roots for each in below]
    found = sorted(_expand((*patterns, *_PYTHON_FOLDERS)), key=_version_in)
    return [path for path in found if not _version_in(path) or _version_in(path) >= OLDEST_PYTHON]


def _expand(patterns: Iterable[str]) -> list[str]:
    found: list[str] = []
    for pattern in patterns:
        whole = Path.home() / pattern  # an absolute pattern stays what it is
        anchor = Path(whole.anchor)
        found += [str(path) for path in anchor.glob(str(whole.relative_to(anchor)))]
    return found


def _version_in(path: str) -> tuple[int, ...]:
    """The last version in a path (…/versions/3.13.0/bin); empty when there is none."""
    versions = re.findall(r"(\d+)\.(\d+)", path)
    return tuple(map(int, versions[-1])) if versions else ()


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=_ANSWER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""
