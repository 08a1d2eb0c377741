"""Direct flows: one model call, shaped by flow.yaml."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts.calls import ModelCall, Task
from contracts.errors import FlowFailed, NoCapacity
from flows.registry import Flows
from tests.unit.flows_fakes import FakeModels, write


async def test_embed_one_text_and_several() -> None:
    flow, models = Flows.load().get("embed"), FakeModels()
    assert await flow.run({"text": "abba"}, models.run()) == {
        "model": "letters",
        "embeddings": [[2.0, 2.0, 0.0, 0.0, 0.0]],
    }
    several = await flow.run({"text": ["a", "b"]}, models.run())
    assert isinstance(several, dict)
    assert several["embeddings"] == [[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0]]
    assert models.calls[1] == ModelCall("embed", Task.EMBEDDINGS, {"input": ["a", "b"]})


async def test_another_model_on_request() -> None:
    models = FakeModels()
    await Flows.load().get("embed").run({"text": "a"}, models.run(model="embed-large"))
    assert [call.model for call in models.calls] == ["embed-large"]


async def test_errors_of_the_call_come_out_as_they_are() -> None:
    error = NoCapacity("Busy.", retry_at=datetime.now(UTC))
    with pytest.raises(NoCapacity) as raised:
        await Flows.load().get("embed").run({"text": "a"}, FakeModels(embed=error).run())
    assert raised.value is error


async def test_an_answer_of_another_shape_fails_the_flow() -> None:
    with pytest.raises(FlowFailed, match="Flow 'embed' failed: UndefinedError") as raised:
        await Flows.load().get("embed").run({"text": "a"}, FakeModels(embed={"secret": 1}).run())
    assert "secret" not in raised.value.detail


async def test_a_result_that_is_the_answer(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "score/flow.yaml": """
            description: Scores.
            model: scorer
            task: score
            input: {type: object, additionalProperties: true}
            request: "{{ input }}"
        """
        },
    )
    flows, models = Flows.load(tmp_path), FakeModels(scorer=[0.25])
    flows.check("score", {"anything": 1})
    assert await flows.get("score").run({"anything": 1}, models.run()) == [0.25]
    assert models.calls == [ModelCall("scorer", Task.SCORE, {"anything": 1})]
