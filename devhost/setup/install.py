"""Installs whatever is missing, side by side, and says so; quiet and instant when nothing is."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from devhost.setup.console import Progress, say
from devhost.setup.environments import APP, AZURITE, LLM, LOGS, MODELS, NodeEnvironment
from devhost.setup.tools import find_node, find_python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devhost.setup.environments import PythonEnvironment, Report
    from devhost.setup.tools import Python

    Install = Callable[[Report], None]


def set_up(with_llm: bool) -> None:
    """Bring every environment to what its files say. Raises Stop."""
    wanted = [APP, MODELS, AZURITE, *([LLM] if with_llm else [])]
    if all(environment.ready() for environment in wanted):
        return
    with _alone(), Progress() as progress:
        # The waiting ended: another ./dev may have done it meanwhile.
        steps = _steps(with_llm, progress)
        if steps:
            _side_by_side(steps, progress)


def set_up_only(
    environment: PythonEnvironment | NodeEnvironment, python: Python | None = None
) -> None:
    """Bring an environment that no command of ./dev needs to what its files say. Raises Stop."""
    if environment.ready():
        return
    with _alone(), Progress() as progress:
        if not environment.ready():
            if isinstance(environment, NodeEnvironment):
                install = partial(environment.install, find_node())
            else:
                install = partial(environment.install, python or find_python())
            _side_by_side({environment.name: install}, progress)


def _steps(with_llm: bool, progress: Progress) -> dict[str, Install]:
    """What is to be done, by name; two environments in one folder make one step."""
    steps: dict[str, Install] = {}
    pythons = [each for each in (APP, MODELS) if not each.ready()]
    llm = with_llm and not LLM.ready()
    if pythons or llm:
        python = find_python()
        progress.line(
            f"Setting up with Python {'.'.join(map(str, python.version))} ({python.path})"
        )
        for each in pythons:
            steps[each.name] = partial(each.install, python)
        if llm:
            first = steps.pop(MODELS.name, None)
            steps[LLM.name] = _one_after_the_other(first, partial(LLM.install, python))
    if not AZURITE.ready():
        steps[AZURITE.name] = partial(AZURITE.install, find_node())
    return steps


def _one_after_the_other(first: Install | None, second: Install) -> Install:
    def install(report: Report) -> None:
        if first:
            first(report)
        second(report)

    return install


def _side_by_side(steps: dict[str, Install], progress: Progress) -> None:
    failures: list[Exception] = []

    def carry_out(name: str, install: Install) -> None:
        began = time.monotonic()
        progress.begin(name)
        try:
            install(partial(progress.report, name))
        except Exception as error:  # noqa: BLE001 - raised again below, in the main thread
            failures.append(error)
            progress.end(name, time.monotonic() - began, "failed")
        else:
            progress.end(name, time.monotonic() - began)

    threads = [threading.Thread(target=carry_out, args=step) for step in steps.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@contextmanager
def _alone() -> Iterator[None]:
    """One set-up at a time in this checkout."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / "lock").open("w") as lock:
        if os.name != "nt":
            import fcntl

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Another ./dev is setting up; waiting for it.")
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield
