"""PromptFlow made fit for a process that serves many runs. It is written for one of its own."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import pkgutil
import sys
import threading
from contextlib import nullcontext
from types import ModuleType

from contracts.errors import Misconfigured

_preparing = threading.Lock()
_prepared = threading.Event()


def prepare() -> None:
    """Call before the first import of `promptflow`. Raises Misconfigured where there is none."""
    with _preparing:
        if not _prepared.is_set():
            _prepare()
            _prepared.set()


def _prepare() -> None:
    namespace = _without_devkit()
    _without_logs()
    _without_captured_output()
    _without_chdir()
    # What flows written for an older PromptFlow import from its top.
    core = importlib.import_module("promptflow.core")
    for name in ("tool", "ToolProvider", "log_metric"):
        if name not in vars(namespace):
            setattr(namespace, name, getattr(core, name))
    _without_exit()


def _without_devkit() -> ModuleType:
    """Let `promptflow` be the bare namespace that it is where only promptflow-core is installed.

    The devkit's `__init__` doubles the import's time and memory, writes to the home directory and
    starts threads that report to its makers.
    """
    if "promptflow" not in sys.modules:
        spec = importlib.util.find_spec("promptflow")
        if spec is None:
            raise Misconfigured(
                "PromptFlow flows need the package promptflow-core: add it to requirements.txt."
            )
        namespace = sys.modules["promptflow"] = importlib.util.module_from_spec(spec)
        namespace.__path__ = pkgutil.extend_path(namespace.__path__, "promptflow")
    return sys.modules["promptflow"]


def _without_logs() -> None:
    """Its loggers write inputs and errors to the console, and turn Azure's HTTP logs to DEBUG."""
    logger_utils = importlib.import_module("promptflow._utils.logger_utils")
    for logger in logger_utils.LoggerFactory._existing_loggers:
        logger.disabled = True
    logger_utils.LoggerFactory.get_logger = staticmethod(_silent_logger)


def _silent_logger(name: str, *_: object, **__: object) -> logging.Logger:
    logger = logging.Logger(name)
    logger.disabled = True
    return logger


class _NoNodeLog:
    """Stands in for PromptFlow's NodeLogManager."""

    def __enter__(self) -> _NoNodeLog:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def set_node_context(self, *_: object) -> None:
        pass

    def clear_node_context(self, *_: object) -> None:
        pass

    def get_logs(self, _: str) -> dict[str, str]:
        return {"stdout": "", "stderr": ""}


def _without_captured_output() -> None:
    """It swaps `sys.stdout` for each run; runs that overlap put back each other's, for good."""
    log_manager = importlib.import_module("promptflow._core.log_manager")
    setattr(log_manager, "NodeLogManager", _NoNodeLog)  # noqa: B010 - for mypy it has no such name


def _without_chdir() -> None:
    """It changes the working directory, which is the whole process's, while it builds a flow."""
    context_utils = importlib.import_module("promptflow._utils.context_utils")
    setattr(context_utils, "_change_working_dir", nullcontext)  # noqa: B010 - as above


def _without_exit() -> None:
    """Its scheduler answers a cancelled run by ending the process, some seconds later."""
    scheduler = importlib.import_module("promptflow.executor._async_nodes_scheduler")
    scheduler.AsyncNodesScheduler.cancel = _live_on


async def _live_on(_: object) -> None:
    pass
