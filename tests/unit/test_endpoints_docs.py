"""docs/endpoints.md, held against the loader and the settings it describes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from contracts.calls import ModelCall
from contracts.errors import InvalidRequest
from endpoints import settings
from endpoints.invoke import Endpoints
from endpoints.protocols import SETTINGS, speak

PAGE = (Path(__file__).parents[2] / "docs" / "endpoints.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
PAYLOADS = [
    (section.partition("\n")[0], example, payload)
    for section in PAGE.split("\n## ")
    for example in re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    for payload in re.findall(r"```json\n(.*?)```", section, re.DOTALL)
]


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_each_example_can_be_pasted(example, tmp_path):
    file = tmp_path / "deployments.yaml"
    file.write_text(example)
    names = re.findall(r"\$\{(\w+)\}", example)
    endpoints = Endpoints.load(file, dict.fromkeys(names, "a-key"))
    assert all(model.deployments for model in endpoints.models.values())


def taken(deployment, payload):
    """For which tasks the deployment's protocol takes the payload."""
    protocol = speak(deployment)
    for task in protocol.tasks:
        try:
            protocol.request(ModelCall("m", task, payload))
            yield task
        except InvalidRequest:
            continue


@pytest.mark.parametrize(("section", "example", "payload"), PAYLOADS)
def test_each_payload_is_taken_by_its_example(section, example, payload, tmp_path):
    file = tmp_path / "deployments.yaml"
    file.write_text(example)
    names = re.findall(r"\$\{(\w+)\}", example)
    models = settings.load(file, dict.fromkeys(names, "a-key")).models
    for model in models.values():
        for deployment in model.deployments:
            assert list(taken(deployment, json.loads(payload))), section


def test_every_field_is_explained_and_no_other():
    [table] = re.findall(r"## Every field\n\n(.*?)\n\n", PAGE, re.DOTALL)
    explained = set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))
    assert explained == {name for each in SETTINGS.values() for name in each.model_fields}
