"""The command line without a service: where options may stand, what is shown, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import service
from cli.app import main, to_front

ROOT = Path(__file__).parents[2]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no stack runs, with no settings in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("SLUICE_URL", "SLUICE_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["jobs", "list", "--json"], ["--json", "jobs", "list"]),
        (
            ["jobs", "show", "j", "--url", "http://a", "--key=k"],
            ["--url", "http://a", "--key=k", "jobs", "show", "j"],
        ),
        (["jobs", "list", "--limit", "3"], ["jobs", "list", "--limit", "3"]),
        (["usage", "--", "--json"], ["usage", "--", "--json"]),
        (["usage", "--url"], ["usage", "--url"]),
    ],
)
def test_the_options_of_every_command_may_stand_anywhere(given: list[str], expected: list[str]):
    assert to_front(given) == expected


@given(st.lists(st.sampled_from(["jobs", "--json", "--url", "u", "--key=k", "--limit", "--"])))
def test_no_word_is_lost(words: list[str]):
    assert sorted(to_front(words)) == sorted(words)


def test_it_ends_with_0_for_help_and_2_for_what_is_no_command(capsys: pytest.CaptureFixture[str]):
    assert main(["jobs", "--help"]) == 0
    assert "submit" in capsys.readouterr().out
    assert main(["job"]) == 2
    assert main(["jobs", "submit", "summarize"]) == 2
    assert main(["batches", "upload", "no-such-file.jsonl"]) == 2


def test_without_a_service_it_says_how_to_name_one(
    nowhere: None, capsys: pytest.CaptureFixture[str]
):
    assert main(["jobs", "list"]) == 1
    assert "./dev start" in capsys.readouterr().err


def test_a_service_that_is_not_there(nowhere: None, capsys: pytest.CaptureFixture[str]):
    assert main(["queues", "list", "--url", "http://127.0.0.1:9", "--key", "k"]) == 1
    assert "cannot be reached at 127.0.0.1:9" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["{", "@no-such-file.json"])
def test_an_input_that_cannot_be_read(
    nowhere: None, capsys: pytest.CaptureFixture[str], wrong: str
):
    assert main(["jobs", "submit", "summarize", wrong]) == 1
    assert "INPUT" in capsys.readouterr().err


def test_what_callers_wrote_is_no_markup(capsys: pytest.CaptureFixture[str]):
    service.out().print(service.facts({"name": "[red]x[/red]", "none": None}))
    service.out().print(service.listing(["a"], [["[bold]y"], [None]]))
    shown = capsys.readouterr().out
    assert "[red]x[/red]" in shown
    assert "[bold]y" in shown
    assert "none" not in shown


def test_ids_are_whole_where_no_terminal_is(capsys: pytest.CaptureFixture[str]):
    job = "job_" + "0" * 34
    service.out().print(service.listing(["a", "b", "c"], [[job, job, job]]))
    assert capsys.readouterr().out.count(job) == 3


def test_times_are_of_utc():
    assert service.time(0) == "1970-01-01 00:00:00"
    assert service.time(datetime(2030, 1, 1, 12, tzinfo=UTC)) == "2030-01-01 12:00:00"
    assert service.time(None) is None


def test_a_path_has_only_what_is_given():
    assert service.path_of("/v1/jobs", {"limit": 3, "after": None}) == "/v1/jobs?limit=3"
    assert service.path_of("/v1/jobs", {}) == "/v1/jobs"


def test_a_shell_completes_commands():
    environment = {
        "_SLUICE_COMPLETE": "complete_bash",
        "COMP_WORDS": "sluice que",
        "COMP_CWORD": "1",
        "PATH": "",
    }
    done = subprocess.run(
        [sys.executable, "-m", "cli"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["queues"], done.stderr
