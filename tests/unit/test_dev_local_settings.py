"""local.settings.example.json: every setting explained, every name that is used present."""

from __future__ import annotations

import json
import re
from pathlib import Path

from devhost.functions_host.settings import read_local_settings

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "local.settings.example.json"


def values() -> dict[str, str]:
    return json.loads(EXAMPLE.read_text())["Values"]


def test_every_setting_is_explained():
    assert json.loads(EXAMPLE.read_text())["_explained"].keys() == values().keys()


def test_the_local_host_reads_it_as_core_tools_would():
    settings = read_local_settings(EXAMPLE)
    assert settings.values == values()
    assert settings.port == 7071


def test_every_name_in_deployments_yaml_is_a_setting():
    lines = (ROOT / "deployments.yaml").read_text().splitlines()
    in_use = "".join(line for line in lines if not line.startswith("#"))
    assert set(re.findall(r"\$\{(\w+)\}", in_use)) <= values().keys()


def test_every_setting_that_the_app_reads_is_there():
    wiring = "".join(path.read_text() for path in (ROOT / "wiring").glob("**/*.py"))
    assert set(re.findall(r'"(SLUICE_[A-Z_]+)"', wiring)) <= values().keys()
