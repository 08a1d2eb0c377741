"""Starts task hubs and Functions hosts as processes, for the tests of the local host."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "tests" / "apps" / "sample"
KEY = "the-key"
READY_SECONDS = 120
"""Limits are for what goes wrong: a busy machine takes ten times as long as an idle one."""


@dataclass
class Child:
    """A process of ours: its address, and what it has written."""

    process: subprocess.Popen[bytes]
    log_file: Path
    address: str = ""

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def wait_for(self, text: str) -> str:
        """The rest of the first line that holds the text."""

        def find() -> str | None:
            ended = self.process.poll() is not None
            lines = [line for line in self.log.splitlines() if text in line]
            assert lines or not ended, f"the process ended:\n{self.log}"
            return lines[0].partition(text)[2].strip() if lines else None

        return until(find, READY_SECONDS)

    def terminate(self) -> float:
        """Seconds that it takes to end after SIGTERM."""
        began = time.monotonic()
        self.process.terminate()
        self.process.wait(90)
        return time.monotonic() - began

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)


def until[T](find: Callable[[], T | None], seconds: float = 120.0) -> T:
    """The first thing that is found; AssertionError if nothing is in time."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        found = find()
        if found is not None:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not found within {seconds} s")


@contextlib.contextmanager
def child(folder: Path, name: str, *arguments: str, **environ: str) -> Iterator[Child]:
    """`python -m name arguments`, ended at the end whatever happens."""
    log_file = folder / f"{name}-{time.monotonic_ns()}.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", name, *arguments],
            cwd=ROOT,
            env={**os.environ, "SLUICE_LEDGER_JOURNAL": str(folder / "ledger"), **environ},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Child(process, log_file)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def task_hub(folder: Path, *arguments: str, port: int = 0) -> Iterator[Child]:
    with child(folder, "devhost.task_hub", "--port", str(port), *arguments) as hub:
        hub.address = hub.wait_for("Task hub ready: ")
        yield hub


@contextlib.contextmanager
def functions_host(
    folder: Path, hub: str, *arguments: str, app: Path = SAMPLE, **environ: str
) -> Iterator[Child]:
    settings = str(SAMPLE / "sample.settings.json")
    with child(
        folder,
        "devhost.functions_host",
        *("--app", str(app), "--hub", hub, "--port", "0", "--key", KEY, "--settings", settings),
        *arguments,
        **environ,
    ) as host:
        host.address = host.wait_for("Host ready: ")
        yield host


class Client(httpx.Client):
    """Talks to a host and follows instances through the durable HTTP API."""

    def start_instance(self, name: str, body: object = None, instance_id: str | None = None) -> str:
        """Start an orchestration through the app. Returns the URL where its status is."""
        query = {} if instance_id is None else {"id": instance_id}
        response = self.post(f"/api/start/{name}", json=body, params=query)
        assert response.status_code == 202, response.text
        return str(response.headers["location"])

    def ended(self, status_url: str, seconds: float = 120.0) -> dict:
        """The instance's description once it has ended."""

        def look() -> dict | None:
            response = self.get(status_url)
            assert response.status_code in {200, 202}, response.text
            return response.json() if response.status_code == 200 else None

        return until(look, seconds)

    def reached(self, status_url: str, status: str) -> dict:
        def look() -> dict | None:
            described = self.get(status_url).json()
            return described if described["runtimeStatus"] == status else None

        return until(look)

    def run(self, name: str, body: object = None) -> dict:
        return self.ended(self.start_instance(name, body))
