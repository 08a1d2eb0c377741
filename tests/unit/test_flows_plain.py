"""The flows that every app has: one call of the model that the job names."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.calls import ModelCall, Task
from contracts.errors import InvalidRequest
from flows.adapters.plain import PLAIN_FLOWS
from flows.registry import Flows
from tests.unit.flows_fakes import FakeModels


@pytest.mark.parametrize(("task", "name"), PLAIN_FLOWS.items())
async def test_the_body_goes_to_the_model_as_it_is(tmp_path: Path, task: Task, name: str) -> None:
    flows, models = Flows.load(tmp_path), FakeModels(mine={"any": "answer"})
    flow = flows.check(name, {"input": "{{ no template }}"}, "mine")
    result = await flow.run({"input": "{{ no template }}"}, models.run(model="mine"))
    assert result == {"any": "answer"}
    assert models.calls == [ModelCall("mine", task, {"input": "{{ no template }}"})]


async def test_a_job_without_a_model_is_refused(tmp_path: Path) -> None:
    flows = Flows.load(tmp_path)
    with pytest.raises(InvalidRequest) as raised:
        flows.check("chat.completions", {"messages": []})
    assert raised.value.problems[0].field == "model"
    with pytest.raises(InvalidRequest):
        await flows.get("chat.completions").run({}, FakeModels().run())


def test_they_are_not_listed_and_no_folder_has_their_names(tmp_path: Path) -> None:
    (tmp_path / "chat.completions").mkdir()
    flows = Flows.load(tmp_path)
    assert flows.infos == []
    assert [broken.name for broken in flows.broken] == ["chat.completions"]
