"""Embeddings of many texts: what an Azure ML batch deployment calls for each group of files.

A file holds a JSON object a line, as the online endpoint takes it; of each line one comes out, with
the file's name and the line's number before it. The scoring is that of score.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from embed import score


def init() -> None:
    """Called once by each worker."""
    score.init()


def run(mini_batch: list[str]) -> list[str]:
    """Called for each group of files. What one line refuses is that line's answer, no failure."""
    return [line for path in mini_batch for line in _answers(Path(path))]


def _answers(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            answer = score.run(line)
            whole = isinstance(answer, dict)
            said = answer if isinstance(answer, dict) else json.loads(answer.get_data())
            field = "response" if whole else "error"
            yield json.dumps({"file": path.name, "line": number, field: said})
