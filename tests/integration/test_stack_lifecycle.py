"""Starting, keeping and ending the stack's processes, with its smallest part: Azurite."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from azure.storage.blob.aio import BlobServiceClient

from devhost.stack.child import Child, ChildFailed, ChildSpec
from devhost.stack.network import free_port
from devhost.stack.plan import CannotStart, Options
from devhost.stack.probes import LogLine, PortOpen
from devhost.stack.running import stack as running_stack
from devhost.stack.state import locked
from devhost.stack.supervisor import Supervisor

ROOT = Path(__file__).parents[2]
AZURITE = Options(parts=frozenset({"azurite"}))
WAITS = "import time; print('ready', flush=True); time.sleep(60)"


async def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


async def start(state: Path, *arguments: str) -> asyncio.subprocess.Process:
    """`./dev start` as a process, without the set-up."""
    command = [sys.executable, "-m", "devhost.stack", "--state", str(state), *arguments]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=pipe)


async def lines_until(process: asyncio.subprocess.Process, start: str) -> list[str]:
    lines: list[str] = []
    async with asyncio.timeout(240):
        while not (lines and lines[-1].startswith(start)):
            line = await process.stdout.readline()
            assert line, f"ended before {start!r}: {lines}"
            lines.append(line.decode().rstrip())
    return lines


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def make_container(connection: str) -> None:
    async with BlobServiceClient.from_connection_string(connection) as blobs:
        await blobs.create_container("box")


async def containers(connection: str) -> list[str]:
    async with BlobServiceClient.from_connection_string(connection) as blobs:
        return [each.name async for each in blobs.list_containers()]


def read(state: Path) -> dict:
    return json.loads((state / "stack.json").read_text())


async def test_the_foreground_command(tmp_path):
    process = await start(tmp_path, "--only", "azurite")
    await lines_until(process, "Ready")

    facts = read(tmp_path)
    assert facts.keys() >= {"http", "service_bus", "blob", "api_key", "endpoints", "pids"}
    assert stat.S_IMODE((tmp_path / "stack.json").stat().st_mode) == 0o600
    assert alive(facts["pids"]["azurite"])
    await make_container(facts["blob"])

    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert not alive(facts["pids"]["azurite"])
    assert not (tmp_path / "stack.json").exists()


async def test_a_second_start_on_the_same_folder_says_so_in_one_line(tmp_path):
    async with running_stack(AZURITE, state=tmp_path):
        process = await start(tmp_path, "--only", "azurite")
        said, _ = await process.communicate()

    assert process.returncode == 1
    last = said.decode().splitlines()[-1]
    assert last.startswith(f"Another stack (pid {os.getpid()}) runs on {tmp_path}; stop it")


async def test_a_port_in_use_is_said_in_one_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = await start(tmp_path, "--only", "host", "--port", str(port))
        said, _ = await process.communicate()

    assert process.returncode == 1
    last = said.decode().splitlines()[-1]
    assert last == f"Port {port} is in use; choose another with --port."


async def test_an_unknown_part_is_said_in_one_line(tmp_path):
    with pytest.raises(CannotStart, match=r"^No such part: azure; there are azurite, hub, "):
        async with running_stack(Options(parts=frozenset({"azure"})), state=tmp_path):
            pass


async def test_a_file_of_tenants_that_is_not_there_is_said_in_one_line(tmp_path):
    with pytest.raises(CannotStart, match=r"^There is no file .*nobody\.yaml\.$"):
        async with running_stack(Options(tenants=tmp_path / "nobody.yaml"), state=tmp_path):
            pass


async def test_state_and_key_survive_a_restart_unless_fresh(tmp_path):
    async with running_stack(AZURITE, state=tmp_path) as first:
        await make_container(first.blob)
    (tmp_path / "mine.txt").write_text("not the stack's")
    async with running_stack(AZURITE, state=tmp_path) as second:
        assert await containers(second.blob) == ["box"]
    async with running_stack(AZURITE, state=tmp_path, fresh=True) as third:
        assert await containers(third.blob) == []

    assert first.api_key == second.api_key == third.api_key
    assert (tmp_path / "mine.txt").exists()


async def test_fresh_forgets_what_every_part_kept_and_nothing_else(tmp_path):
    parts = ("azurite", "hub", "service_bus", "host")
    with locked(tmp_path) as folder:
        for part in parts:
            (folder.data(part) / "kept").touch()
        (tmp_path / "mine.txt").touch()
        folder.prepare(fresh=False)
        assert all((tmp_path / part / "kept").exists() for part in parts)
        folder.prepare(fresh=True)
    assert {path.name for path in tmp_path.iterdir()} == {"lock", "logs", "mine.txt"}


async def test_a_child_is_kept_though_its_new_pid_cannot_be_noted(tmp_path):
    said: list[str] = []

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    child = Child(python(WAITS), ROOT, tmp_path / "log")
    supervisor = Supervisor([[child]], ROOT, said.append, full, longest_delay_seconds=0.5)
    await supervisor.start()
    try:
        for _ in range(2):
            before = supervisor.pids["child"]
            os.kill(before, signal.SIGKILL)
            await until(lambda pid=before: supervisor.pids.get("child", pid) != pid)
            await until(lambda: any("No space left" in line for line in said))
            said.clear()
    finally:
        await supervisor.stop()


async def test_a_child_that_cannot_even_start_is_tried_again(tmp_path):
    said: list[str] = []
    logs = tmp_path / "logs"
    logs.mkdir()
    child = Child(python(WAITS), ROOT, logs / "log")
    supervisor = Supervisor([[child]], ROOT, said.append, lambda: None, longest_delay_seconds=0.5)
    await supervisor.start()
    try:
        logs.rename(tmp_path / "away")  # so that its log cannot be opened
        os.kill(supervisor.pids["child"], signal.SIGKILL)
        await until(lambda: any("could not be started" in line for line in said))
        (tmp_path / "away").rename(logs)
        await until(lambda: "child" in supervisor.pids)
    finally:
        await supervisor.stop()


async def test_a_child_that_dies_is_started_again_at_the_same_address(tmp_path):
    said: list[str] = []
    async with running_stack(AZURITE, state=tmp_path, say=said.append) as running:
        before = running.pids["azurite"]
        os.kill(before, signal.SIGKILL)
        await until(lambda: read(tmp_path)["pids"].get("azurite", before) != before)

        assert running.pids["azurite"] != before
        await until(lambda: len(said) > 1)
        await make_container(running.blob)
    assert said[0] == "azurite ended (SIGKILL); starting it again in 0.5 s"
    assert said[1].startswith("azurite runs again")


async def test_nothing_outlives_a_stack_that_is_killed(tmp_path):
    process = await start(tmp_path, "--only", "azurite,inference")
    await lines_until(process, "Ready")
    children = psutil.Process(process.pid).children(recursive=True)
    names = read(tmp_path)["pids"]
    assert names.keys() == {"azurite", "embed", "classifier", "chat", "inference"}
    assert len(children) > len(names), "the servers' workers are among them"

    process.kill()
    await process.wait()
    await until(lambda: not any(alive(child.pid) for child in children))


def python(script: str, **spec: object) -> ChildSpec:
    spec.setdefault("ready", LogLine("ready"))
    return ChildSpec("child", [sys.executable, "-c", script], **spec)


async def test_a_child_that_ends_early_is_reported_with_its_last_lines(tmp_path):
    child = Child(python("print('no luck'); raise SystemExit(3)"), ROOT, tmp_path / "child.log")
    await child.start()
    with pytest.raises(ChildFailed, match=r"(?s)child ended \(exit code 3\).*no luck"):
        await child.wait_ready()


async def test_a_child_that_is_never_ready_is_ended(tmp_path):
    spec = python("import time; time.sleep(60)", ready=PortOpen(free_port()), ready_seconds=0.3)
    child = Child(spec, ROOT, tmp_path / "child.log")
    pid = await child.start()
    with pytest.raises(ChildFailed, match=r"was not ready after 0\.3 s"):
        await child.wait_ready()
    assert not alive(pid)


async def test_a_child_that_does_not_heed_sigterm_is_killed_with_its_own_children(tmp_path):
    script = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(grandchild.pid, flush=True)
print("ready", flush=True)
time.sleep(60)
"""
    child = Child(python(script, stop_seconds=0.3), ROOT, tmp_path / "child.log")
    pid = await child.start()
    await child.wait_ready()
    grandchild = int(child.log.read_text().split()[0])

    began = time.monotonic()
    await child.stop()
    assert time.monotonic() - began >= 0.3
    assert not alive(pid)
    await until(lambda: not alive(grandchild))
