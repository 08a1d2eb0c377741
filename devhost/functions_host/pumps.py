"""Which triggers and bindings are served here, and by what.

HTTP triggers are served by the web server; every other kind of trigger by a pump. A new kind is
one more entry in `PUMP_KINDS`, a new input binding one more in `input_bindings`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from devhost.functions_host.app_loader import AppFunction
from devhost.functions_host.blob_triggers import BLOB_TRIGGER
from devhost.functions_host.blob_triggers import triggers_of as blob_triggers_of
from devhost.functions_host.blob_triggers import why_unserved as why_blob_unserved
from devhost.functions_host.durable_calls import (
    ACTIVITY_TRIGGER,
    ENTITY_TRIGGER,
    ORCHESTRATION_TRIGGER,
    DurableCalls,
)
from devhost.functions_host.durable_pump import DurablePump
from devhost.functions_host.host_json import HostConfig
from devhost.functions_host.http_endpoints import HTTP_TRIGGER
from devhost.functions_host.hub_link import HubLink
from devhost.functions_host.invoker import InputBindings, Invoker
from devhost.functions_host.service_bus_triggers import (
    SERVICE_BUS_TRIGGER,
    triggers_of,
    why_unserved,
)
from devhost.functions_host.timer_status import TimerStatus
from devhost.functions_host.timers import TIMER_TRIGGER, TimerPump, timers_of

HTTP_OUTPUT = "http"
DURABLE_CLIENT = "durableClient"


class Pump(Protocol):
    """Wakes functions of one kind of trigger, or a few that belong together."""

    async def start(self) -> None:
        """Begin; returns once begun."""
        ...

    async def stop(self, grace: float) -> None:
        """Begin nothing more, end what runs within `grace` seconds, and give back the rest."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """What a pump can work with."""

    invoker: Invoker
    link: HubLink
    config: HostConfig
    state: Path | None = None
    """A folder that outlasts the process."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)


@dataclass(frozen=True, slots=True)
class PumpKind:
    """The trigger types that one pump serves. `open` raises AppError for what it cannot."""

    trigger_types: frozenset[str]
    open: Callable[[Services, Sequence[AppFunction]], Pump]
    why_unserved: Callable[[AppFunction, Mapping[str, str]], str | None] = lambda *_: None
    """Asked of each function with the app settings: what is missing to serve it, if anything."""


@dataclass(frozen=True, slots=True)
class Unserved:
    """A function that this host cannot serve."""

    function: AppFunction
    reason: str


def _open_durable(services: Services, functions: Sequence[AppFunction]) -> Pump:
    calls = DurableCalls(functions, services.invoker)
    return DurablePump(calls, services.link, services.config.durable)


def _open_timers(services: Services, functions: Sequence[AppFunction]) -> Pump:
    file = None if services.state is None else services.state / "timers.json"
    timers = timers_of(functions, services.environ)
    return TimerPump(timers, services.invoker, TimerStatus(file))


def _open_service_bus(services: Services, functions: Sequence[AppFunction]) -> Pump:
    # An app without such triggers needs no SDK of Service Bus.
    from devhost.functions_host.service_bus_pump import ServiceBusPump

    config = services.config.service_bus
    triggers = triggers_of(functions, services.environ, config)
    return ServiceBusPump(triggers, services.invoker, config)


def _open_blobs(services: Services, functions: Sequence[AppFunction]) -> Pump:
    # Nor does one without such triggers need the SDK of storage here.
    from devhost.functions_host.blob_pump import BlobPump
    from devhost.functions_host.blob_receipts import BlobReceipts

    file = None if services.state is None else services.state / "blobs.json"
    triggers = blob_triggers_of(functions, services.environ)
    return BlobPump(triggers, services.invoker, BlobReceipts(file))


PUMP_KINDS = (
    PumpKind(frozenset({ORCHESTRATION_TRIGGER, ACTIVITY_TRIGGER, ENTITY_TRIGGER}), _open_durable),
    PumpKind(frozenset({TIMER_TRIGGER}), _open_timers),
    PumpKind(frozenset({SERVICE_BUS_TRIGGER}), _open_service_bus, why_unserved),
    PumpKind(frozenset({BLOB_TRIGGER}), _open_blobs, why_blob_unserved),
)


def input_bindings(durable_client: str) -> InputBindings:
    """What fills the input bindings served here."""
    return {DURABLE_CLIENT: lambda _: durable_client}


def split_served(
    functions: Iterable[AppFunction],
    inputs: InputBindings,
    kinds: Sequence[PumpKind] = PUMP_KINDS,
    environ: Mapping[str, str] = os.environ,
) -> tuple[list[AppFunction], list[Unserved]]:
    """The functions that can be served here, and the others with the reason."""
    served: list[AppFunction] = []
    unserved: list[Unserved] = []
    for function in functions:
        reason = _why_unserved(function, inputs, kinds, environ)
        if reason is None:
            served.append(function)
        else:
            unserved.append(Unserved(function, reason))
    return served, unserved


def _why_unserved(
    function: AppFunction,
    inputs: InputBindings,
    kinds: Sequence[PumpKind],
    environ: Mapping[str, str],
) -> str | None:
    trigger = function.trigger.type
    kind = next((kind for kind in kinds if trigger in kind.trigger_types), None)
    if kind is None and trigger != HTTP_TRIGGER:
        return f"no {trigger} here"
    bindings = {HTTP_OUTPUT, *inputs}
    foreign = [b.type for b in function.bindings if b.type not in bindings]
    if foreign:
        return f"no {foreign[0]} binding here"
    return None if kind is None else kind.why_unserved(function, environ)


def open_pumps(
    services: Services,
    functions: Sequence[AppFunction],
    kinds: Sequence[PumpKind] = PUMP_KINDS,
) -> list[Pump]:
    """A pump for each kind of trigger that the functions have, not started. Raises AppError."""
    return [
        kind.open(services, chosen)
        for kind in kinds
        if (chosen := [f for f in functions if f.trigger.type in kind.trigger_types])
    ]
