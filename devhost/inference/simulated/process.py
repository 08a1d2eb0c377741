"""Simulated deployments in a process of their own, for benches: it shares no loop with them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READY = "Simulated deployments ready: "
"""How the line begins that is printed once it serves; then the base URL."""

_ROOT = Path(__file__).parents[3]
_END_SECONDS = 10


@contextmanager
def simulated_process(*names: str, seed: int | None = None) -> Iterator[str]:
    """The base URL of a process that serves these names; it ends with the block.

    Raises RuntimeError when it cannot start, which it has then said on stderr.
    """
    command = [
        sys.executable,
        "-m",
        "devhost.inference.simulated",
        "--deployments",
        ",".join(names),
    ]
    command += [] if seed is None else ["--seed", str(seed)]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as child:
        try:
            line = child.stdout.readline() if child.stdout else ""
            if not line.startswith(READY):
                raise RuntimeError("the simulated deployments did not start")
            yield line.removeprefix(READY).strip()
        finally:
            child.terminate()
            try:
                child.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
