"""docs/openai.md, followed literally: its programs run, and its job is one."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

from tests.e2e.test_openai_node import SCRIPT, node

__all__ = ["node"]  # a fixture

PAGE = (Path(__file__).parents[2] / "docs" / "openai.md").read_text()
SECONDS = 300


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


async def run(stack, *command: str, folder: Path) -> str:
    """What a program prints, with the settings that the page exports."""
    environment = {**os.environ, "SLUICE_URL": stack.http, "SLUICE_KEY": stack.api_key}
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        cwd=folder,
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
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_the_python_programs(stack, tmp_path):
    program = tmp_path / "all.py"
    program.write_text("\n".join(blocks("python")) + "\nprint(job['status'])\n")
    printed = await run(stack, sys.executable, str(program), folder=tmp_path)
    assert "The bridge is closed" in printed
    assert "384" in printed
    assert "completed BatchRequestCounts(completed=100, failed=0, total=100)" in printed
    assert printed.splitlines()[-1] in ("queued", "running", "succeeded")


async def test_the_node_program(stack, node, tmp_path):
    [code] = blocks("js")
    program = tmp_path / "client.mjs"
    program.write_text(code)
    (tmp_path / "node_modules").symlink_to((SCRIPT.parent / "node_modules").resolve())
    assert "The bridge is closed" in await run(stack, node, str(program), folder=tmp_path)


async def test_the_job(client):
    [job] = map(json.loads, blocks("json"))
    made = await client.post(
        "/jobs", body=job, cast_to=object, options={"headers": {"Prefer": "wait=100"}}
    )
    assert made["status"] == "succeeded"
    assert "nine" in made["result"]["choices"][0]["message"]["content"]
