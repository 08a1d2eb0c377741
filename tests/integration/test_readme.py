"""README.md, followed literally: the flow that it writes in five minutes runs on real models."""

from __future__ import annotations

import json
import re
from pathlib import Path

import wiring
from contracts.calls import CallScope
from contracts.flows import FlowRun

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


async def test_the_flow_of_the_readme(stack, tmp_path):
    [(path, text)] = re.findall(r"```yaml (flows/\S+)\n(.*?)```", README, re.DOTALL)
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(text)
    [job] = map(json.loads, blocks("json"))
    settings = {"AzureWebJobsStorage": stack.blob, "SLUICE_FLOWS": str(tmp_path / "flows")}
    for name, url in stack.endpoints.items():
        settings[f"{name.upper()}_ENDPOINT_URL"] = url
        settings[f"{name.upper()}_ENDPOINT_KEY"] = stack.endpoint_keys[name]
    parts = wiring.build(settings | {"CHAT_ENDPOINT_MODEL": "any"})
    scope = CallScope(job_id="job_1", tenant="default")

    parts.flows.check(job["flow"], job["input"])
    flow = parts.flows.get(job["flow"])
    result = await flow.run(
        job["input"], FlowRun(invoke=lambda call: parts.endpoints.invoke(call, scope))
    )
    await parts.endpoints.aclose()

    assert "nine" in result["answer"]
    assert scope.attempts[0].deployment == "chat-openai"


def test_the_tree_of_the_readme_is_the_tree():
    [tree] = re.findall(r"```\n(function_app.py.*?)```", README, re.DOTALL)
    names = [part for line in tree.splitlines() for part in line.split("  ")[:2] if part]
    named = [name for name in names if re.fullmatch(r"[\w.]+/?", name)]
    assert len(named) >= len(tree.splitlines())
    for name in named:
        assert (Path(__file__).parents[2] / name).exists(), name


def test_the_job_of_the_readmes_curl_is_one():
    [sent] = re.findall(r"-d '(\{.*?\})'$", README, re.MULTILINE)
    assert set(json.loads(sent)) == {"flow", "input"}
