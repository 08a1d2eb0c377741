"""OpenAI's own Node client, run as a program: tests/e2e/node/client.test.mjs."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest

from devhost.setup.console import Stop
from devhost.setup.environments import OPENAI_NODE
from devhost.setup.install import set_up_only

SCRIPT = Path(__file__).parent / "node" / "client.test.mjs"
UNREACHABLE = re.compile(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH")
SECONDS = 300


@pytest.fixture(scope="module")
def node() -> str:
    """The program, with the client installed beside the script."""
    try:
        set_up_only(OPENAI_NODE)
    except Stop as stop:
        if not UNREACHABLE.search(str(stop)):
            raise
        pytest.skip("the npm registry is not reachable, and the Node client not installed")
    return str(Path(OPENAI_NODE.node_folder()) / "node")


async def test_the_node_client(stack, node):
    environment = {**os.environ, "SLUICE_URL": stack.http, "SLUICE_KEY": stack.api_key}
    process = await asyncio.create_subprocess_exec(
        node,
        "--test",
        "--test-reporter=tap",
        str(SCRIPT),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = output.decode()
    assert process.returncode == 0, text
    passed = re.search(r"^# pass (\d+)$", text, re.MULTILINE)
    assert passed, text
    print(f"{passed[1]} tests of the Node client passed")
    assert int(passed[1]) == SCRIPT.read_text().count("\ntest(")
