"""docs/flows.md, followed literally: its files make flows, and its jobs run."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from flows.registry import Flows
from tests.unit.flows_fakes import FakeModels, completion, last_message, recipes, write

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


async def test_each_recipe_makes_a_flow_and_its_job_runs(tmp_path: Path) -> None:
    flows = Flows.load(write(tmp_path, recipes()))
    assert flows.broken == []
    models = FakeModels(chat=lambda call: completion(f"({last_message(call)})"))
    results = {}
    for file in sorted(tmp_path.glob("*/job.json")):
        job = json.loads(file.read_text("utf-8"))
        assert job["flow"] == file.parent.name
        flow = flows.check(job["flow"], job["input"])
        results[job["flow"]] = await flow.run(job["input"], models.run())
    assert results == {
        "translate": {"text": "(Guten Morgen)"},
        "headline": {"headline": "(The old bridge over the Aare opens again on Monday.)"},
        "route": {"team": "accounts"},
        "draft": "(When are you open?)",
    }
    assert [info.name for info in flows.infos] == sorted(results)
    await flows.close()
    for client in [o for o in gc.get_objects() if type(o) is AsyncOpenAI]:
        await client.close()  # a flow's client lives as long as the app
