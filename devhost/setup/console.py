"""Lines on the terminal: what is being installed, for how long, and what is missing."""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType

_REFRESH_SECONDS = 0.2


class Stop(Exception):
    """Setting up cannot go on; the message is one line that says what is missing or wrong."""


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Progress:
    """One line a step as it ends; on a terminal also a changing line with what is under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, str] = {}
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Progress:
        if self._live:
            self._ticker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._live:
            self._ticker.join()

    def line(self, text: str) -> None:
        with self._lock:
            self._clear()
            say(text)

    def begin(self, step: str) -> None:
        with self._lock:
            self._running[step] = ""
        if not self._live:
            self.line(f"  {step:<14} installing")

    def report(self, step: str, what: str) -> None:
        with self._lock:
            self._running[step] = what

    def end(self, step: str, seconds: float, outcome: str = "ready") -> None:
        with self._lock:
            self._running.pop(step, None)
        self.line(f"  {step:<14} {outcome} in {seconds:.0f} s")

    def _tick(self) -> None:
        while not self._ended.wait(_REFRESH_SECONDS):
            with self._lock:
                doing = ", ".join(f"{step}: {what}" for step, what in self._running.items())
                elapsed = time.monotonic() - self._began
                width = _columns() - 1
                sys.stdout.write("\r" + f"  {elapsed:3.0f} s  {doing}"[:width].ljust(width))
                sys.stdout.flush()
        with self._lock:
            self._clear()

    def _clear(self) -> None:
        if self._live:
            sys.stdout.write("\r" + " " * (_columns() - 1) + "\r")


def _columns() -> int:
    try:
        return os.get_terminal_size().columns
    except OSError:
        return 80
