"""Which files of an app make the host start again."""

from __future__ import annotations

import pytest
from watchfiles import Change

from devhost.functions_host.reload import source_filter, watched_paths


def test_source_folders_and_files_are_watched_and_environments_are_not(tmp_path):
    for folder in ("flows", ".venv", ".git", ".local", "node_modules", "__pycache__"):
        (tmp_path / folder).mkdir()
    for file in ("function_app.py", "host.json", "deployments.yaml", "README.md", ".hidden.py"):
        (tmp_path / file).touch()
    assert [path.name for path in watched_paths(tmp_path)] == [
        "deployments.yaml",
        "flows",
        "function_app.py",
        "host.json",
    ]


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("function_app.py", True),
        ("flows/a/flow.yaml", True),
        ("flows/a/prompt.txt", False),
        ("flows/.cache/x.json", False),
        ("flows/__pycache__/x.py", False),
        ("a/b/c/d/.venv/lib/x.py", False),
    ],
)
def test_only_changed_sources_count(tmp_path, path, counts):
    assert source_filter(tmp_path)(Change.modified, str(tmp_path / path)) is counts
