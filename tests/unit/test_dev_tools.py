"""./dev finds a Python and a Node that run, whatever else stands in the way."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from devhost.setup import tools
from devhost.setup.console import Stop

ROOT = Path(__file__).parents[2]


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine without any Python or Node, to put some on."""
    return Machine(monkeypatch, tmp_path)


class Machine:
    def __init__(self, monkeypatch, home: Path) -> None:
        self.home = home
        self.environ = monkeypatch
        self.answers: dict[str, str] = {}
        self.on_path: dict[str, str] = {}
        for name in ("SLUICE_PYTHON", "PYENV_ROOT", "CONDA_PREFIX"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(tools.Path, "home", lambda: home)
        monkeypatch.setattr(tools.sys, "version_info", (3, 9, 0))
        monkeypatch.setattr(tools, "_run", lambda command: self.answers.get(command[0], ""))
        monkeypatch.setattr(tools.shutil, "which", self._which)
        for folders in ("_PYTHON_FOLDERS", "_NODE_FOLDERS"):
            below_home = [each for each in getattr(tools, folders) if not each.startswith("/")]
            monkeypatch.setattr(tools, folders, tuple(below_home))

    def _which(self, name: str, path: str | None = None) -> str | None:
        if path is None:
            return self.on_path.get(name)
        return str(Path(path) / name) if (Path(path) / name).exists() else None

    def python(self, path: str, version: str = "", *, whole: bool = True, name: str = "") -> str:
        """Put a Python there; without a version it fails when run. `name` puts it on PATH."""
        file = self.put(path)
        if version:
            self.answers[file] = f"{version.replace('.', '|')}|{int(whole)}|{file}\n"
        if name:
            self.on_path[name] = file
        return file

    def node(self, folder: str, version: str, *, on_path: bool = False) -> str:
        node = self.put(f"{folder}/node")
        self.put(f"{folder}/npm")
        self.answers[node] = version
        if on_path:
            self.on_path["node"] = node
        return str(Path(node).parent)

    def put(self, path: str) -> str:
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        return str(file)


def test_a_shim_that_fails_is_passed_over_for_a_version_that_runs(machine):
    machine.python("shims/python3.13", name="python3.13")
    machine.python(".pyenv/versions/3.9.18/bin/python", "3.9")
    good = machine.python(".pyenv/versions/3.13.0/bin/python", "3.13")

    assert tools.find_python().path == good


def test_the_version_the_pins_were_made_on_goes_before_newer_ones(machine):
    machine.python(".pyenv/versions/3.15.1/bin/python", "3.15")
    good = machine.python(".local/share/uv/python/cpython-3.13.2-linux/bin/python3", "3.13")

    assert tools.find_python().path == good


def test_a_version_managers_own_root_is_searched(machine, tmp_path):
    machine.environ.setenv("PYENV_ROOT", str(tmp_path / "elsewhere"))
    good = machine.python("elsewhere/versions/3.14.0/bin/python", "3.14")

    assert tools.find_python().version == (3, 14)
    assert tools.find_python().path == good


def test_sluice_python_is_taken_and_nothing_else(machine):
    machine.python("bin/python3.13", "3.13", name="python3.13")
    chosen = machine.python("mine/python", "3.14")
    machine.environ.setenv("SLUICE_PYTHON", chosen)
    assert tools.find_python().path == chosen

    machine.environ.setenv("SLUICE_PYTHON", "/nowhere/python")
    with pytest.raises(Stop, match="SLUICE_PYTHON=/nowhere/python is not a Python"):
        tools.find_python()


@pytest.mark.parametrize("version", ["3.12", "2.7", ""])
def test_what_is_missing_is_said_in_one_line(machine, version):
    machine.python("bin/python3", version, name="python3")

    with pytest.raises(Stop, match=r"^Python 3.13 or newer is missing [^\n]*$"):
        tools.find_python()


def test_a_python_without_venv_says_what_to_install(machine):
    machine.python("bin/python3", "3.13", whole=False, name="python3")

    with pytest.raises(Stop, match=r"apt install python3\.13-venv"):
        tools.find_python()


def test_node_on_path_is_taken(machine):
    folder = machine.node("bin", "v20.1.0\n", on_path=True)

    assert tools.find_node().folder == folder


def test_an_old_node_on_path_gives_way_to_the_newest_of_a_version_manager(machine):
    machine.node("bin", "v16.2.0\n", on_path=True)
    machine.node(".nvm/versions/node/v18.9.0/bin", "v18.9.0\n")
    folder = machine.node(".nvm/versions/node/v22.3.0/bin", "v22.3.0\n")

    assert tools.find_node().folder == folder


def test_a_missing_node_is_said_in_one_line(machine):
    machine.node("bin", "v16.2.0\n", on_path=True)

    with pytest.raises(Stop, match=r"^Node.js 18 or newer with npm is missing \(found 16 [^\n]*$"):
        tools.find_node()


STARTS_BEFORE_SETUP = [ROOT / "dev", ROOT / "devhost/__init__.py"]
STARTS_BEFORE_SETUP += sorted((ROOT / "devhost/setup").glob("*.py"))


@pytest.mark.parametrize("path", STARTS_BEFORE_SETUP, ids=lambda path: path.name)
def test_an_older_python_can_read_what_starts_first(path):
    ast.parse(path.read_text(), feature_version=(3, 8))


def run(command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.11", "3.12"])
def test_an_older_python_can_run_it(version):
    pythons = list(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    if not pythons:
        pytest.skip(f"no Python {version} in ~/.pyenv")
    done = run([pythons[0], ROOT / "dev", "help"])
    assert (done.returncode, done.stderr) == (0, "")
    assert "./dev demo" in done.stdout


def test_an_unknown_command_is_said_in_one_line():
    done = run([sys.executable, ROOT / "dev", "tset"])
    assert done.returncode == 2
    assert done.stdout == "There is no command 'tset'; ./dev help lists them.\n"
