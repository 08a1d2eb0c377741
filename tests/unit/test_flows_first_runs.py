"""The shipped flows, all run for the first time at once, in a process that has no SDK yet."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

FIRST_RUNS = """
import asyncio
from flows.registry import Flows
from tests.unit.flows_fakes import FakeModels

INPUTS = {
    "classify": {"text": "x", "labels": ["a", "b"]},
    "answer": {"question": "q", "documents": ["a", "b"]},
    "summarize": {"text": "abc"},
    "embed": {"text": "a"},
}

async def main():
    flows = Flows.load()
    runs = [(name, i) for i in range(3) for name in INPUTS]
    results = await asyncio.gather(
        *(flows.get(name).run(INPUTS[name], FakeModels().run()) for name, _ in runs)
    )
    await flows.close()
    print(len([result for result in results if result]))

asyncio.run(main())
"""


def test_first_runs_do_not_disturb_each_other():
    # Importing an SDK in a thread while another flow is being built: sys.modules changes hands.
    ran = subprocess.run(
        [sys.executable, "-c", FIRST_RUNS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.stdout.strip() == "12", ran.stderr
