"""PromptFlow's own batch run: `pf run create` over an async flow that makes the same call.

In a process of its own, 16 workers, with a home folder of its own and telemetry off.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.bench.peers.calls import PAYLOAD

WORKERS = 16
NODE = """
import aiohttp
from promptflow.core import tool

_sessions = []


@tool
async def ask(url: str, text: str) -> str:
    if not _sessions:
        _sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
    body = {"messages": [{"role": "user", "content": text}], "model": "simulated", "max_tokens": 64}
    async with _sessions[0].post(url + "/chat/completions", json=body) as response:
        answer = await response.json()
    return answer["choices"][0]["message"]["content"]
"""
DAG = """
inputs:
  url: {type: string}
  text: {type: string}
outputs:
  answer: {type: string, reference: "${ask.output}"}
nodes:
- name: ask
  type: python
  source: {type: code, path: ask.py}
  inputs: {url: "${inputs.url}", text: "${inputs.text}"}
"""
QUIET = {
    "PF_WORKER_COUNT": str(WORKERS),
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
    "PF_LOGGING_LEVEL": "ERROR",
}


async def run(url: str, lines: int) -> dict[str, float]:
    """Seconds of the whole command, and the peak memory of its processes, in MB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, url, lines)
        command = [sys.executable, "-m", "promptflow._cli._pf.entry", "run", "create"]
        command += ["--flow", str(folder / "flow"), "--data", str(folder / "data.jsonl")]
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env=os.environ | QUIET | {"PF_HOME_DIRECTORY": str(folder / "home")},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        peak = await _watched(process)
        seconds = time.perf_counter() - began
        if process.returncode:
            raise RuntimeError(f"pf ended with {process.returncode}")
        return {"seconds": seconds, "peak_mb": peak}


def _write(folder: Path, url: str, lines: int) -> None:
    (folder / "flow").mkdir()
    (folder / "flow" / "flow.dag.yaml").write_text(DAG)
    (folder / "flow" / "ask.py").write_text(NODE)
    (folder / "home").mkdir()
    (folder / "home" / "pf.yaml").write_text("telemetry: {enabled: false}\n")
    text = PAYLOAD["messages"][0]["content"]
    line = json.dumps({"url": url, "text": text}) + "\n"
    (folder / "data.jsonl").write_text(line * lines)


async def _watched(process: asyncio.subprocess.Process) -> float:
    """The most memory that the process and its children had at once, in MB."""
    peak = 0.0
    waiting = asyncio.create_task(process.wait())
    while not waiting.done():
        peak = max(peak, _memory(process.pid))
        await asyncio.wait([waiting], timeout=0.2)
    return peak


def _memory(pid: int) -> float:
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        return sum(each.memory_info().rss for each in family) / 2**20
    except psutil.Error:  # one of them has just ended
        return 0.0
