"""What ./dev installs is pinned, is installed once, and is repaired when that was cut short."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from devhost.checks import pytest_command
from devhost.setup import environments
from devhost.setup.console import Stop
from devhost.setup.environments import (
    APP,
    LLM,
    MARKER,
    MLFLOW,
    MODELS,
    PEERS,
    TRITON,
    PythonEnvironment,
    installing,
    run_logged,
)

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==([^\s;]+)(; .+)?$")


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """An empty folder for an environment of one requirement."""
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    (tmp_path / "requirements.txt").write_text("a==1\n")
    made = PythonEnvironment("venv", tmp_path / "venv", ("requirements.txt",))
    made.python.parent.mkdir(parents=True)
    made.python.touch()
    return made


def test_it_is_ready_once_installed(environment):
    assert not environment.ready()
    with installing(environment):
        assert not environment.ready()
    assert environment.ready()


def test_a_changed_pin_is_installed_again(environment, tmp_path):
    with installing(environment):
        pass
    (tmp_path / "requirements.txt").write_text("a==2\n")
    assert not environment.ready()


def test_a_python_that_is_gone_is_installed_again(environment):
    with installing(environment):
        pass
    environment.python.unlink()
    assert not environment.ready()


def test_an_install_cut_short_is_not_ready_although_an_earlier_one_was(environment):
    with installing(environment):
        pass
    with pytest.raises(KeyboardInterrupt), installing(environment):
        raise KeyboardInterrupt
    assert (environment.folder / MARKER).exists()
    assert not environment.ready()


def test_a_failed_command_shows_its_last_lines_and_where_the_rest_is(monkeypatch, tmp_path):
    monkeypatch.setattr(environments, "LOGS", tmp_path)
    script = "print('Collecting it all'); print('no such package'); raise SystemExit(3)"
    reported: list[str] = []

    with pytest.raises(Stop, match=r"(?s)failed; .*venv\.log.*no such package"):
        run_logged(".venv", [sys.executable, "-c", script], tmp_path, {}, reported.append)

    assert reported == ["Collecting it"]
    assert "no such package" in (tmp_path / "venv.log").read_text()


def pins(name: str) -> dict[str, str]:
    """The pins of a requirements file. Fails on a line that is not one."""
    found: dict[str, str] = {}
    for line in (ROOT / name).read_text().splitlines():
        if not line or line.startswith(("#", "-")):
            continue
        match = PIN.match(line)
        assert match, f"{name}: not pinned: {line}"
        found[match.group(1).lower().replace("_", "-")] = match.group(2)
    return found


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_direct_pins_agree_with_the_constraints(name):
    everything = pins("constraints.txt")
    assert pins(name).items() <= everything.items()


def test_the_deployed_app_is_constrained_too():
    assert "-c constraints.txt" in (ROOT / "requirements.txt").read_text().splitlines()
    ignored = (ROOT / ".funcignore").read_text().splitlines()
    assert not any(line.strip("/*") in ("constraints.txt", "requirements.txt") for line in ignored)


@pytest.mark.parametrize(
    "environment", [MODELS, LLM, PEERS, MLFLOW, TRITON], ids=lambda each: each.name
)
def test_what_is_installed_without_its_dependencies_pins_everything(environment):
    assert not environment.with_dependencies
    [name] = environment.files
    assert pins(name)


def test_what_the_app_is_compared_with_is_installed_apart():
    apart = {"dbos", "litellm"}
    assert apart <= pins("requirements-peers.txt").keys()
    assert not apart & pins("constraints.txt").keys()
    assert PEERS.folder not in {APP.folder, MODELS.folder}


def test_azure_builds_the_model_servers_from_the_same_pins():
    conda = yaml.safe_load((ROOT / "infra/models/environment.yml").read_text())
    [pip] = [each["pip"] for each in conda["dependencies"] if isinstance(each, dict)]
    pinned = pins("requirements-models.txt")
    assert dict(line.split("==") for line in pip).items() <= pinned.items()


@pytest.mark.parametrize(
    ("package", "folder"), [("azurite", "devhost/azurite"), ("openai", "tests/e2e/node")]
)
def test_node_packages_are_locked_by_checksum_and_to_no_registry(package, folder):
    folder = ROOT / folder
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]
    assert packages[""]["dependencies"] == wanted
    for name, locked in packages.items():
        if name:
            assert locked["integrity"].startswith("sha512-"), name
            assert "resolved" not in locked, name
    assert packages[f"node_modules/{package}"]["version"] == wanted[package]


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        ([], ["-m", "not long and not heavy"]),
        (["--long"], ["-m", "not heavy"]),
        (["tests/unit", "-x"], ["-m", "not long and not heavy", "tests/unit", "-x"]),
        (["--long", "-x"], ["-m", "not heavy", "-x"]),
        (["--heavy", "-x"], ["-m", "heavy", "tests/heavy", "-x"]),
    ],
)
def test_long_and_heavy_tests_are_run_on_request(given, passed_on):
    assert pytest_command(given) == [sys.executable, "-m", "pytest", *passed_on]
