"""Disks that are full: for one process by a limit, or in truth by what lies on them."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NEEDS_PRLIMIT = pytest.mark.skipif(
    not hasattr(resource, "prlimit"),
    reason="only Linux can limit the files of a process that runs (prlimit)",
)


@contextmanager
def full_for(pids: Iterable[int]) -> Iterator[None]:
    """While the block runs, these processes can write no file beyond its first byte.

    It is the kernel that refuses (RLIMIT_FSIZE), as it does on a full disk. SQLite says "disk I/O
    error" to it, and to a disk that is full in truth "database or disk is full".
    """
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        for pid, limits in before.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


@contextmanager
def small_disk(folder: Path, megabytes: int = 64) -> Iterator[Path]:
    """The folder as a file system of its own, gone after the block with all that is on it.

    Skips the test where none can be mounted: that takes Linux, and its root.
    """
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """While the block runs, not a byte is left on the folder's file system."""
    ballast = folder / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    continue
        yield
    finally:
        ballast.unlink()
