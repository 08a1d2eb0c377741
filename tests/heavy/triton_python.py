"""The Python that Triton's Python backend needs: of this version, with a shared library."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from devhost.setup.console import Stop
from devhost.setup.tools import Python, probe_python

VERSION = (3, 11)
_LIBRARY = "libpython3.11.so.1.0"
_FOLDER = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"


def find_shared_python() -> Python:
    """Raises Stop, which says what is missing."""
    for candidate in _candidates():
        python = probe_python(candidate)
        if python is None or python.version != VERSION or not python.whole:
            continue
        loads = f"import ctypes; ctypes.CDLL({_LIBRARY!r}); print(1)"
        if _run(python.path, loads, libraries(python.path)):
            return python
    raise Stop(
        "Triton needs Python 3.11 with venv and its shared library; on Debian:"
        " apt install python3.11-venv libpython3.11"
    )


def libraries(python: str) -> str:
    """The folder of this Python's own library, for LD_LIBRARY_PATH: another's does not fit it."""
    return _run(python, _FOLDER).strip()


def _candidates() -> list[str]:
    """All on PATH, as a version manager's shim may hide a Python that runs."""
    folders = [*os.get_exec_path(), "/usr/bin"]
    named = [Path(folder) / "python3.11" for folder in folders]
    managed = sorted(Path.home().glob(".pyenv/versions/3.11.*/bin/python"))
    return [str(path) for path in dict.fromkeys([*named, *managed]) if path.exists()]


def _run(python: str, script: str, library_path: str = "") -> str:
    """What the script prints; nothing when it fails."""
    done = subprocess.run(
        [python, "-c", script],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "LD_LIBRARY_PATH": library_path},
    )
    return done.stdout if done.returncode == 0 else ""
