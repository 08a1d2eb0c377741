"""How tenants.yaml and the platform decide who may ask at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from azure.functions import AuthLevel

import wiring
from contracts.errors import Misconfigured, Unauthenticated
from stores.keys import KeyStore
from tests.unit.fakes import MemoryContainer
from wiring.identity import identities, tenants

ROOT = Path(__file__).parents[2]
EXAMPLE = str(ROOT / "tenants.example.yaml")


def keys() -> KeyStore:
    return KeyStore(cast(Any, MemoryContainer()))


def test_without_a_file_the_platforms_key_opens_every_door(monkeypatch):
    monkeypatch.delenv("SLUICE_TENANTS", raising=False)
    assert not (ROOT / "tenants.yaml").exists(), "this test is about a repository without one"
    assert wiring.auth_level() is AuthLevel.FUNCTION
    known = tenants({})
    assert known.names == []
    assert identities(known, keys(), {}) is None


def test_a_file_that_is_named_and_not_there_opens_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("SLUICE_TENANTS", str(tmp_path / "none.yaml"))
    assert wiring.auth_level() is AuthLevel.ANONYMOUS
    assert wiring.knows_tenants()
    with pytest.raises(Misconfigured, match="a readable UTF-8 file"):
        tenants(os.environ)


@pytest.mark.parametrize(
    ("says", "enabled", "trusted"),
    [("true", "True", True), ("true", None, False), ("false", "True", False)],
)
async def test_the_platform_is_believed_when_both_it_and_the_file_say_so(
    tmp_path, says, enabled, trusted
):
    path = tmp_path / "tenants.yaml"
    path.write_text(f"{{identity: {{platform: {says}}}, tenants: {{a: {{}}}}}}")
    environ = {"SLUICE_TENANTS": str(path)}
    if enabled is not None:
        environ["WEBSITE_AUTH_ENABLED"] = enabled
    made = identities(tenants(environ), keys(), environ)
    assert made is not None
    with pytest.raises(Unauthenticated, match="cannot be read" if trusted else "did not set"):
        await made.identify({"x-ms-client-principal": "?"})


def test_with_a_file_every_door_is_open_to_the_platform_and_nothing_heavy_is_imported():
    code = (
        "import json, sys, function_app;"
        "levels = {};"
        "[levels.update({f.get_function_name(): b['authLevel']}) for f in"
        " function_app.app.get_functions() for b in json.loads(f.get_function_json())['bindings']"
        " if b['type'] == 'httpTrigger'];"
        "print(json.dumps([levels, [n for n in ('jwt', 'cryptography') if n in sys.modules]]))"
    )
    environ = os.environ | {
        "PYTHONPATH": str(ROOT),
        "SLUICE_TENANTS": EXAMPLE,
        "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    }
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, check=True
    )
    levels, imported = json.loads(printed.stdout.splitlines()[-1])
    assert len(levels) > 20
    assert {level.lower() for level in levels.values()} == {"anonymous"}
    assert imported == []
