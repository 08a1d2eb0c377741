"""PromptFlow's own executors, one a flow, each serving all runs of its flow at once.

The only module that imports the SDK; `sdk.prepare` goes before.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Protocol
from urllib.parse import quote

from promptflow.contracts.run_info import Status
from promptflow.core import AzureOpenAIModelConfiguration, OpenAIModelConfiguration
from promptflow.core._connection_provider._dict_connection_provider import DictConnectionProvider
from promptflow.executor import FlowExecutor
from promptflow.storage._run_storage import DummyRunStorage
from promptflow.tracing._operation_context import OperationContext

from contracts.calls import JsonObject
from flows.adapters.calls import FlowCodeRaised
from flows.adapters.model_gateway import Admission
from flows.adapters.own_modules import own_modules
from flows.adapters.promptflow.connections import Connections
from flows.adapters.promptflow.definition import Definition

_current: ContextVar[Admission] = ContextVar("sluice_promptflow_run")


class Executor(Protocol):
    """What a flow needs of PromptFlow. `run` may be called concurrently."""

    async def run(self, input: JsonObject, admission: Admission) -> object:
        """One run, in a task of its own. Raises what PromptFlow raises, or FlowCodeRaised."""
        ...


def build(definition: Definition, url: str, flow_key: str) -> Executor:
    """The executor of a flow. Raises what importing and constructing the flow's code raises."""
    provider = _connections(definition.connections, url, flow_key)
    with own_modules(definition.folder):
        if definition.entry is None:
            return _DagRuns(definition, provider)
        return _FlexRuns(definition, provider)


class RunSecrets(Mapping[str, str]):
    """The secrets of a connection: whoever reads one during a run gets the key of that run.

    What is read while the flow is being built, for a client that serves all runs, is the flow's
    own key: see `ModelGateway.flow_key`.
    """

    def __init__(self, names: list[str], flow_key: str) -> None:
        self._names = names
        self._flow_key = flow_key

    def __getitem__(self, name: str) -> str:
        if name not in self._names:
            raise KeyError(name)
        run = _current.get(None)
        return self._flow_key if run is None else run.key

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


_FIELDS: dict[str, Callable[[str], dict[str, str]]] = {
    "OpenAIConnection": lambda url: {"base_url": f"{url}/v1"},
    "AzureOpenAIConnection": lambda url: {"api_base": url},
    "ServerlessConnection": lambda url: {"api_base": url},
    "CustomConnection": lambda url: {"url": f"{url}/score"},
}


def _connections(connections: Connections, url: str, flow_key: str) -> DictConnectionProvider:
    described = {}
    for name, kind in connections.items():
        secret = "key" if kind == "CustomConnection" else "api_key"
        fields = _FIELDS[kind](f"{url}/models/{quote(name, safe='')}")
        described[name] = {
            "type": kind,
            "module": "promptflow.connections",
            "value": {**fields, secret: flow_key},
            "secret_keys": [secret],
        }
    provider = DictConnectionProvider(described)
    for connection in provider.list():
        connection.secrets = RunSecrets(list(connection.secrets), flow_key)
    return provider


class _DagRuns:
    def __init__(self, definition: Definition, provider: DictConnectionProvider) -> None:
        self._executor = FlowExecutor.create(
            definition.folder / definition.file,
            provider,
            definition.folder,
            storage=DummyRunStorage(),
            raise_ex=True,
            env_exporter_setup=False,
        )

    async def run(self, input: JsonObject, admission: Admission) -> object:
        _enter(admission)
        result = await self._executor.exec_line_async(input, run_id=admission.run_id)
        return result.output


class _FlexRuns:
    """The class or function is handed to the SDK as it is: given its YAML, the SDK would start a
    process to inspect it and write `.promptflow/` beside it."""

    def __init__(self, definition: Definition, provider: DictConnectionProvider) -> None:
        self._defaults = definition.defaults
        self._executor = FlowExecutor.create(
            _entry(definition, provider),
            {},
            storage=DummyRunStorage(),
            env_exporter_setup=False,
        )

    async def run(self, input: JsonObject, admission: Admission) -> object:
        _enter(admission)
        result = await self._executor.exec_line_async(
            {**self._defaults, **input}, run_id=admission.run_id
        )
        if result.run_info.status is not Status.Completed:
            # The SDK keeps a report of the exception and not the exception.
            report = result.run_info.error["debugInfo"]
            raise FlowCodeRaised(report["type"], report["stackTrace"])
        return result.output


def _entry(definition: Definition, provider: DictConnectionProvider) -> Callable[..., Any]:
    assert definition.entry is not None
    module, name = definition.entry
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    if not isinstance(found, type):
        return found
    init: dict[str, Any] = dict(definition.init)
    for parameter, connection in definition.init_connections.items():
        init[parameter] = provider.get(connection)
    for parameter in definition.init_configurations:
        init[parameter] = _configuration(dict(init[parameter]), provider)
    instance: Callable[..., Any] = found(**init)
    return instance


def _configuration(given: dict[str, str], provider: DictConnectionProvider) -> object:
    connection = provider.get(given.pop("connection"))
    azure = type(connection).__name__ == "AzureOpenAIConnection"
    kind = AzureOpenAIModelConfiguration if azure else OpenAIModelConfiguration
    return kind.from_connection(connection, **given)


def _enter(admission: Admission) -> None:
    _current.set(admission)
    # The SDK marks calls with the run's id through this, and would share the caller's.
    OperationContext.set_instance(OperationContext())
