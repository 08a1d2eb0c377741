"""The list of functions that the host prints when it starts, as `func start` prints it."""

from __future__ import annotations

from collections.abc import Iterable

from devhost.functions_host.app_loader import AppFunction
from devhost.functions_host.http_endpoints import HTTP_TRIGGER, Endpoint
from devhost.functions_host.pumps import Unserved


def list_functions(
    url: str,
    endpoints: Iterable[Endpoint],
    served: Iterable[AppFunction],
    unserved: Iterable[Unserved],
) -> str:
    """The text, with a line a function: how it is reached, or why it is not served."""
    lines = ["Functions:"]
    for endpoint in sorted(endpoints, key=lambda e: e.function.name.casefold()):
        methods = ",".join(sorted(endpoint.methods)) or "ALL"
        lines.append(f"  {endpoint.function.name}: [{methods}] {url}{endpoint.path}")
    others = [function for function in served if function.trigger.type != HTTP_TRIGGER]
    for function in sorted(others, key=lambda f: (f.trigger.type, f.name.casefold())):
        lines.append(f"  {function.name}: {function.trigger.type}")
    left_out = [f"  {each.function.name}: {each.reason}" for each in unserved]
    if left_out:
        lines += ["Not served here:", *left_out]
    return "\n".join(lines)
