"""Makes functions and invokers for the tests of the local host, without an app."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from devhost.functions_host.app_loader import AppFunction, Binding, load_app
from devhost.functions_host.invoker import Invoker

SAMPLE = Path(__file__).resolve().parents[1] / "apps" / "sample"


def function(
    call: Callable[..., object],
    trigger: str = "httpTrigger",
    parameter: str = "req",
    bindings: tuple[Binding, ...] = (),
    **properties: object,
) -> AppFunction:
    return AppFunction(
        name=call.__name__,
        call=call,
        trigger=Binding(trigger, parameter, properties),
        bindings=bindings,
        is_async=inspect.iscoroutinefunction(call),
        wants_context="context" in inspect.signature(call).parameters,
    )


def invoker(inputs=None, threads: int = 2) -> Invoker:
    return Invoker(Path("/app"), threads, inputs or {})


@contextmanager
def loaded(directory: Path):
    """The functions of an app; afterwards `function_app` is again whatever it was before."""
    before, path = sys.modules.pop("function_app", None), list(sys.path)
    try:
        yield load_app(directory)
    finally:
        sys.path[:] = path
        sys.modules.pop("function_app", None)
        if before is not None:
            sys.modules["function_app"] = before
