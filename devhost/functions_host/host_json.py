"""host.json: the settings of the host that a local run honours; the others are left alone.

Source of names and meanings: "host.json reference for Azure Functions 2.x and later".
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from devhost.functions_host.json_config import Section, read_section

UNBOUNDED = -1


def _ten_per_core() -> int:
    """Durable Functions' own default of its concurrency limits on a dedicated host."""
    return 10 * (os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class HttpConfig:
    route_prefix: str = "api"
    max_concurrent: int = UNBOUNDED
    """Requests that run at the same time; more of them wait."""
    max_outstanding: int = UNBOUNDED
    """Requests that run or wait; more of them are refused with 429."""


@dataclass(frozen=True, slots=True)
class DurableConfig:
    hub_name: str = "DurableFunctionsHub"
    connection_name: str = "AzureWebJobsStorage"
    max_activities: int = field(default_factory=_ten_per_core)
    max_orchestrators: int = field(default_factory=_ten_per_core)
    max_entities: int = field(default_factory=_ten_per_core)
    max_message_bytes: int | None = None
    """The durable client's limit for one gRPC message; None leaves gRPC's own, 4 MB."""


@dataclass(frozen=True, slots=True)
class ServiceBusConfig:
    prefetch: int = 0
    """Messages that a receiver takes ahead of the calls."""
    max_calls: int = 16
    """Calls that run at the same time for one trigger without sessions."""
    max_sessions: int = 8
    """Sessions that are worked on at the same time, each one message after the other."""
    max_lock_renewal: timedelta = timedelta(minutes=5)
    session_idle: timedelta = timedelta(minutes=1)
    """A session without a message for so long is left for another."""
    auto_complete: bool = True


@dataclass(frozen=True, slots=True)
class HostConfig:
    http: HttpConfig = field(default_factory=HttpConfig)
    durable: DurableConfig = field(default_factory=DurableConfig)
    service_bus: ServiceBusConfig = field(default_factory=ServiceBusConfig)


def read_host_config(path: Path) -> HostConfig:
    """The host's settings from a host.json; defaults if there is none. Raises SettingsError."""
    root = read_section(path)
    version = root.text("version", "2.0")
    if version != "2.0":
        raise root.wrong("version", 'the string "2.0"', version)
    extensions = root.section("extensions")
    return HostConfig(
        http=_http(extensions.section("http")),
        durable=_durable(extensions.section("durableTask")),
        service_bus=_service_bus(extensions.section("serviceBus")),
    )


def _http(section: Section) -> HttpConfig:
    return HttpConfig(
        route_prefix=section.text("routePrefix", "api").strip("/"),
        max_concurrent=_limit(section, "maxConcurrentRequests"),
        max_outstanding=_limit(section, "maxOutstandingRequests"),
    )


def _limit(section: Section, name: str) -> int:
    value = section.integer(name, UNBOUNDED, minimum=UNBOUNDED)
    if value == 0:
        raise section.wrong(name, "a whole number above 0, or -1 for no limit", value)
    return value


def _durable(section: Section) -> DurableConfig:
    defaults = DurableConfig()
    storage = section.section("storageProvider")
    message_bytes = section.values.get("maxGrpcMessageSizeInBytes")
    return DurableConfig(
        hub_name=section.text("hubName", defaults.hub_name),
        connection_name=storage.text(
            "connectionName", storage.text("connectionStringName", defaults.connection_name)
        ),
        max_activities=section.integer(
            "maxConcurrentActivityFunctions", defaults.max_activities, minimum=1
        ),
        max_orchestrators=section.integer(
            "maxConcurrentOrchestratorFunctions", defaults.max_orchestrators, minimum=1
        ),
        max_entities=section.integer(
            "maxConcurrentEntityFunctions", defaults.max_entities, minimum=1
        ),
        max_message_bytes=None
        if message_bytes is None
        else section.integer("maxGrpcMessageSizeInBytes", 0, minimum=1),
    )


def _service_bus(section: Section) -> ServiceBusConfig:
    defaults = ServiceBusConfig()
    return ServiceBusConfig(
        prefetch=section.integer("prefetchCount", defaults.prefetch, minimum=0),
        max_calls=section.integer("maxConcurrentCalls", defaults.max_calls, minimum=1),
        max_sessions=section.integer("maxConcurrentSessions", defaults.max_sessions, minimum=1),
        max_lock_renewal=section.timespan("maxAutoLockRenewalDuration", defaults.max_lock_renewal),
        session_idle=section.timespan("sessionIdleTimeout", defaults.session_idle),
        auto_complete=section.flag("autoCompleteMessages", defaults.auto_complete),
    )
