"""Where the app's HTTP functions are served, for which methods and to whom."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from devhost.functions_host.app_loader import AppError, AppFunction
from devhost.functions_host.keys import Access
from devhost.functions_host.routes import Route, RouteError, compile_route

HTTP_TRIGGER = "httpTrigger"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One HTTP function at its route."""

    function: AppFunction
    route: Route
    methods: frozenset[str]
    """Empty for every method."""
    access: Access

    def allows(self, method: str) -> bool:
        if not self.methods or method in self.methods:
            return True
        return method == "HEAD" and "GET" in self.methods

    @property
    def path(self) -> str:
        return f"/{self.route.template}"


def http_endpoints(functions: Iterable[AppFunction], prefix: str) -> list[Endpoint]:
    """The app's HTTP functions, the most specific routes first. Raises AppError."""
    endpoints = [_endpoint(f, prefix) for f in functions if f.trigger.type == HTTP_TRIGGER]
    return sorted(endpoints, key=lambda endpoint: endpoint.route.order)


def _endpoint(function: AppFunction, prefix: str) -> Endpoint:
    trigger = function.trigger
    template = (trigger.text("route") or function.name).strip("/")
    methods = trigger.properties.get("methods")
    try:
        return Endpoint(
            function=function,
            route=compile_route(f"{prefix}/{template}" if prefix else template),
            methods=frozenset(str(m).upper() for m in methods)
            if isinstance(methods, list)
            else frozenset(),
            access=Access((trigger.text("authLevel") or Access.FUNCTION).lower()),
        )
    except (RouteError, ValueError) as error:
        raise AppError(f"function {function.name}: {error}") from error
