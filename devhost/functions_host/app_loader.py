"""Loads a Functions app and reads the metadata that the real host would index."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import cast

from azure.functions import FunctionRegister

from devhost.functions_host.json_config import Json

SCRIPT = "function_app"


class AppError(Exception):
    """The folder holds no Functions app that can be served. The message says why."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One binding as function.json would describe it."""

    type: str
    name: str
    properties: Mapping[str, Json]

    @classmethod
    def from_json(cls, text: str) -> Binding:
        properties = cast(dict[str, Json], json.loads(text))
        return cls(str(properties["type"]), str(properties["name"]), properties)

    @property
    def is_trigger(self) -> bool:
        return self.type.lower().endswith("trigger")

    def text(self, name: str) -> str | None:
        """A property that is a string; None if it is missing or empty."""
        value = self.properties.get(name)
        return value if isinstance(value, str) and value else None


@dataclass(frozen=True, slots=True)
class AppFunction:
    """One function of the app: what wakes it, and how it is called."""

    name: str
    call: Callable[..., object]
    trigger: Binding
    bindings: tuple[Binding, ...]
    """The others, in the order of the decorators."""
    is_async: bool
    wants_context: bool
    """Whether it has a parameter `context` that no binding fills."""


def load_app(directory: Path) -> list[AppFunction]:
    """The functions of the app in a folder, by way of its `function_app.py`.

    The folder becomes the first place that imports are looked for, as with the real worker.
    Raises AppError; what the app's own code raised is its cause.
    """
    if not (directory / f"{SCRIPT}.py").is_file():
        raise AppError(f"{directory} holds no {SCRIPT}.py")
    sys.path.insert(0, str(directory))
    try:
        module = importlib.import_module(SCRIPT)
    except Exception as error:
        raise AppError(f"{directory / SCRIPT}.py cannot be imported: {error}") from error
    try:
        functions = _app_of(module).get_functions()
    except ValueError as error:
        raise AppError(f"{SCRIPT}.py: {error}") from error
    return [
        _function(
            str(function.get_function_name()),
            function.get_user_function(),
            function.get_raw_bindings(),
        )
        for function in functions
    ]


def _app_of(module: ModuleType) -> FunctionRegister:
    apps = {
        id(value): value for value in vars(module).values() if isinstance(value, FunctionRegister)
    }
    if len(apps) != 1:
        raise AppError(f"{SCRIPT}.py must hold one FunctionApp or DFApp; it holds {len(apps)}")
    return next(iter(apps.values()))


def _function(name: str, call: Callable[..., object], raw_bindings: list[str]) -> AppFunction:
    bindings = [Binding.from_json(text) for text in raw_bindings]
    triggers = [binding for binding in bindings if binding.is_trigger]
    if len(triggers) != 1:
        raise AppError(f"function {name} must have one trigger; it has {len(triggers)}")
    filled = {binding.name for binding in bindings}
    return AppFunction(
        name=name,
        call=call,
        trigger=triggers[0],
        bindings=tuple(binding for binding in bindings if not binding.is_trigger),
        is_async=inspect.iscoroutinefunction(call),
        wants_context="context" in inspect.signature(call).parameters and "context" not in filled,
    )
