"""Processes and what they started, ended by id: a child leads a group of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

_WINDOWS = os.name == "nt"


def own_group() -> dict[str, Any]:
    """Arguments for subprocess: a group that a Ctrl-C in the terminal does not reach."""
    if _WINDOWS:
        return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    return {"start_new_session": True}


def ask_to_end(pid: int) -> None:
    """SIGTERM to the leader, which ends its own children in its own order."""
    if _WINDOWS:
        kill_group(pid)
        return
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return


def kill_group(pid: int) -> None:
    """End whatever is left of the group that `pid` leads or led."""
    if _WINDOWS:
        command = ["taskkill", "/F", "/T", "/PID", str(pid)]
        subprocess.run(command, check=False, capture_output=True)
        return
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
