"""What an app's Service Bus triggers ask for: which entity, by which connection, settled how.

Source: "Azure Service Bus trigger for Azure Functions" (connections, identity-based connections).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from devhost.functions_host.app_loader import AppError, AppFunction
from devhost.functions_host.host_json import ServiceBusConfig

SERVICE_BUS_TRIGGER = "serviceBusTrigger"

_DEFAULT_CONNECTION = "AzureWebJobsServiceBus"
_NAMESPACE_SUFFIX = "__fullyQualifiedNamespace"
_SETTING = re.compile(r"%([^%]+)%")


@dataclass(frozen=True, slots=True)
class Entity:
    """A queue, or a topic with one of its subscriptions."""

    path: str
    subscription: str | None = None

    def __str__(self) -> str:
        return self.path if self.subscription is None else f"{self.path}/{self.subscription}"


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a namespace: by a connection string, or by its host name and an identity."""

    value: str = field(repr=False)
    by_identity: bool = False


@dataclass(frozen=True, slots=True)
class ServiceBusTrigger:
    function: AppFunction
    entity: Entity
    connection: Connection
    sessions: bool
    auto_complete: bool


def why_unserved(function: AppFunction, environ: Mapping[str, str]) -> str | None:
    """Why the function cannot be served here: its connection has no setting. None if it can."""
    if _connection(function, environ) is None:
        return f"setting {_connection_name(function)} is not set"
    return None


def triggers_of(
    functions: Iterable[AppFunction], environ: Mapping[str, str], config: ServiceBusConfig
) -> list[ServiceBusTrigger]:
    """The triggers of functions that can be served. Raises AppError for what is not known here."""
    return [_trigger(function, environ, config) for function in functions]


def _trigger(
    function: AppFunction, environ: Mapping[str, str], config: ServiceBusConfig
) -> ServiceBusTrigger:
    if str(function.trigger.properties.get("cardinality", "one")).lower() == "many":
        raise AppError(
            f"function {function.name}: cardinality many is not served here;"
            " take one message at a time"
        )
    connection = _connection(function, environ)
    if connection is None:
        raise AppError(f"function {function.name}: {why_unserved(function, environ)}")
    properties = function.trigger.properties
    return ServiceBusTrigger(
        function,
        _entity(function, environ),
        connection,
        sessions=properties.get("isSessionsEnabled") is True,
        auto_complete=properties.get("autoCompleteMessages", config.auto_complete) is True,
    )


def _entity(function: AppFunction, environ: Mapping[str, str]) -> Entity:
    if queue := function.trigger.text("queueName"):
        return Entity(_resolved(queue, function, environ))
    topic = function.trigger.text("topicName")
    subscription = function.trigger.text("subscriptionName")
    if topic is None or subscription is None:
        raise AppError(
            f"function {function.name}: expected queueName, or topicName with subscriptionName"
        )
    return Entity(_resolved(topic, function, environ), _resolved(subscription, function, environ))


def _resolved(text: str, function: AppFunction, environ: Mapping[str, str]) -> str:
    """The text with each `%NAME%` replaced by the app setting NAME."""

    def setting(found: re.Match[str]) -> str:
        name = found[1]
        if not environ.get(name):
            raise AppError(f"function {function.name}: there is no app setting {name}")
        return environ[name]

    return _SETTING.sub(setting, text)


def _connection_name(function: AppFunction) -> str:
    return function.trigger.text("connection") or _DEFAULT_CONNECTION


def _connection(function: AppFunction, environ: Mapping[str, str]) -> Connection | None:
    """The host looks for a setting's name with its own prefix, too."""
    name = _connection_name(function)
    for candidate in (name, f"AzureWebJobs{name}"):
        if text := environ.get(candidate):
            return Connection(text)
        if host := environ.get(candidate + _NAMESPACE_SUFFIX):
            return Connection(host, by_identity=True)
    return None
