"""docs/endpoints.md, held against the loader and the settings it describes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from endpoints.invoke import Endpoints
from endpoints.protocols.aml_online import AmlOnlineSettings
from endpoints.protocols.openai import OpenAISettings

PAGE = (Path(__file__).parents[2] / "docs" / "endpoints.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_each_example_can_be_pasted(example, tmp_path):
    file = tmp_path / "deployments.yaml"
    file.write_text(example)
    names = re.findall(r"\$\{(\w+)\}", example)
    endpoints = Endpoints.load(file, dict.fromkeys(names, "a-key"))
    assert all(model.deployments for model in endpoints.models.values())


def test_every_field_is_explained_and_no_other():
    [table] = re.findall(r"## Every field\n\n(.*?)\n\n", PAGE, re.DOTALL)
    explained = set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))
    assert explained == {*AmlOnlineSettings.model_fields, *OpenAISettings.model_fields}
