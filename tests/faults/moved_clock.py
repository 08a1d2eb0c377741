"""The time of day of every process that is started in a block, moved while they run."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_name("clock.c")
_COMPILER = shutil.which("cc")
_POSSIBLE = sys.platform == "linux" and _COMPILER is not None

NEEDS_MOVED_CLOCK = pytest.mark.skipif(
    not _POSSIBLE, reason="needs Linux and a C compiler, to move the clock of single processes"
)


class MovedClock:
    """The clock of the processes, apart from this one's."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.jump_to(0)

    def jump_to(self, seconds: int) -> None:
        """From now on the processes' time of day is so many seconds after the true one."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("q", seconds))


@contextmanager
def moved_clock(folder: Path) -> Iterator[MovedClock]:
    """Whatever is started in the block has the clock that this gives."""
    library = folder / "clock.so"
    assert _COMPILER is not None
    subprocess.run([_COMPILER, "-shared", "-fPIC", "-O2", "-o", library, _SOURCE], check=True)
    clock = MovedClock(folder / "clock")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SLUICE_CLOCK", str(folder / "clock"))
        environment.setenv("LD_PRELOAD", str(library), prepend=os.pathsep)
        yield clock
