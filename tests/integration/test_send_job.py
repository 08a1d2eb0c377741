"""The example that sends a job over Service Bus, to an app that knows tenants."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from devhost.issuer.signing_key import SigningKey
from tests.integration.tenants_lab import PRODUCER, TenantsLab

EXAMPLE = Path(__file__).parents[2] / "examples" / "send_job.py"


def pem(folder: Path, key: SigningKey) -> str:
    file = folder / "key.pem"
    private = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private)
    return str(file)


@pytest.mark.parametrize("way", ["token", "signature", "nothing"])
async def test_it_is_sent_with(tenants: TenantsLab, tmp_path: Path, way: str) -> None:
    key = pem(tmp_path, tenants.producer_key)
    ways = {
        "token": ["--token", tenants.token()],
        "signature": ["--sign-with", key, "--issuer", PRODUCER, "--subject", "orders"],
        "nothing": [],
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLE), "embed", '{"text": "Hi"}', *ways[way]),
        *("--connection", tenants.stack.service_bus, "--wait", "120"),
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert json.loads(printed)["status"] == ("rejected" if way == "nothing" else "succeeded")
