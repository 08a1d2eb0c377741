"""An app's web extension: what has the Functions worker serve its HTTP functions as streams.

The worker's rule: once the app has imported a web extension (subclasses of the classes in
`azurefunctions.extensions.base`, such as azurefunctions-extensions-http-fastapi), every HTTP
function of the app is given that extension's request and returns its response.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, get_type_hints

from starlette.types import ASGIApp

from devhost.functions_host.app_loader import AppError, AppFunction
from devhost.functions_host.pumps import HTTP_OUTPUT

_BASE = "azurefunctions.extensions.base"

type Answer = Callable[[Any], Awaitable[Any]]
"""Takes a request of the extension, returns a response of its."""


class WebExtension:
    """The extension that was imported, behind the classes that the worker uses."""

    def __init__(self, base: Any) -> None:
        self._base = base
        self._module: Any = importlib.import_module(base.ModuleTrackerMeta.get_module())

    def application(self, answer: Answer) -> ASGIApp:
        """The extension's web application, with `answer` as its one route."""

        async def catch_all(request: Any) -> Any:
            return await answer(request)

        # The extension may look at it, as FastAPI does.
        catch_all.__annotations__ = {"request": self._base.RequestTrackerMeta.get_request_type()}
        app = self._module.WebApp()
        app.route(catch_all)
        application: ASGIApp = app.get_app()
        return application

    def set_route_values(self, request: Any, values: Mapping[str, str]) -> None:
        self._base.RequestTrackerMeta.get_synchronizer().sync_route_params(request, values)

    def check(self, functions: Sequence[AppFunction]) -> None:
        """Raises AppError for a function whose annotations are of the other kind of app."""
        for function in functions:
            hints = _hints(function)
            given, returned = hints.get(function.trigger.name), hints.get("return")
            requests, responses = self._base.RequestTrackerMeta, self._base.ResponseTrackerMeta
            if given is not None and not requests.check_type(given):
                raise _wrong(function, function.trigger.name, given, self._module.__name__)
            binds = any(binding.type == HTTP_OUTPUT for binding in function.bindings)
            if binds and returned is not None and not responses.check_type(returned):
                raise _wrong(function, "what is returned", returned, self._module.__name__)


def web_extension() -> WebExtension | None:
    """The extension that the app has imported, if any."""
    base = sys.modules.get(_BASE)
    if base is None or not base.HttpV2FeatureChecker.http_v2_enabled():
        return None
    return WebExtension(base)


def _hints(function: AppFunction) -> dict[str, Any]:
    try:
        return get_type_hints(function.call)
    except NameError as error:
        raise AppError(f"function {function.name}: {error}") from error


def _wrong(function: AppFunction, what: str, annotation: object, module: str) -> AppError:
    return AppError(
        f"function {function.name}: {what} is annotated {annotation!r}, but the app imports the "
        f"web extension {module}: all its HTTP functions must use the extension's types"
    )
