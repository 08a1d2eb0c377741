"""docs/batches.md, held against what it describes."""

from __future__ import annotations

import json
import re
from pathlib import Path

from batches import ending, slices
from batches.lines import MOST_LINE_BYTES, MOST_LINES, LineChecker, RawLine
from batches.planning import SLICE_LINES
from batches.results import MOST_RESULT_BYTES
from contracts.batches import BatchMessage
from contracts.names import BATCH_INPUTS, BATCH_INPUTS_SOURCE, DEFAULT_BATCH_INPUTS, MOST_LANES

TEXT = (Path(__file__).parents[2] / "docs" / "batches.md").read_text()
EXAMPLES = [
    json.loads(line)
    for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
]


def test_the_lines_that_it_shows_are_lines():
    shown = [example for example in EXAMPLES if "method" in example]
    assert len(shown) == 2
    for line in shown:
        checker = LineChecker(line["url"], {"chat": 1}, ["summarize"])
        assert checker.check(RawLine(1, 0, json.dumps(line).encode(), 1)) is None


def test_the_message_that_it_shows_is_one():
    [message] = [example for example in EXAMPLES if "batch" in example]
    assert f"/{DEFAULT_BATCH_INPUTS}/" in str(BatchMessage.model_validate(message).batch.input_blob)


def test_every_code_is_there():
    codes = {code for code, _ in ending._NOT_RUN.values()}
    codes |= {"too_many_failures", "service_fault"}
    folder = Path(ending.__file__).parent
    checked = (folder / "lines.py").read_text() + (folder / "planning.py").read_text()
    codes |= set(re.findall(r'"((?:invalid|duplicate|model|too_many|empty|url)_[a-z_]+)"', checked))
    assert len(codes) >= 12
    assert {code for code in codes if f"`{code}`" not in TEXT} == set()


def test_the_numbers_are_right():
    for said in (
        f"up to {MOST_LINES:,} lines",
        f"{MOST_LINE_BYTES // 1024**2} MiB",
        f"{MOST_RESULT_BYTES // 1024**2} MiB as one line",
        f"slices of {SLICE_LINES} lines or 4 MB",
        f"get {slices.GRACE_SECONDS:.0f} s",
        f"some {slices.GATHER_SECONDS * 1000:.0f} ms",
    ):
        assert said in TEXT, said
    assert MOST_LANES == 8
    assert "Eight slices of a batch run at a time" in TEXT


def test_the_settings_are_named():
    for setting in (BATCH_INPUTS, BATCH_INPUTS_SOURCE, "SLUICE_MAX_FILE_BYTES"):
        assert f"`{setting}`" in TEXT
