"""Which children a stack has, how each is started, and at which address each is found."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from contracts.names import SERVICE_BUS_CONNECTION
from devhost.inference.settings import (
    Deployment,
    Endpoint,
    FrontSettings,
    ModelServer,
    model_servers,
    openai_routes,
    scoring_routes,
)
from devhost.service_bus.__main__ import connection_string
from devhost.setup.environments import AZURITE, LLM, MODELS, ROOT
from devhost.stack.child import ChildSpec
from devhost.stack.network import HOST, free_port, in_use
from devhost.stack.probes import HttpOk, LogLine, PortOpen
from devhost.stack.state import StateFolder, write_private

PARTS = ("azurite", "hub", "service_bus", "inference", "host")

# Azurite's built-in account; the key is public and the same everywhere.
_ACCOUNT = "devstoreaccount1"
_ACCOUNT_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_LLM_MODEL = "gemma-3-270m"
_EXTRACTIVE_MODEL = "extractive-minilm"
_LLM_PARALLEL = 2
LONGEST_BODY_BYTES = 256 * 1024 * 1024
"""Over SLUICE_MAX_FILE_BYTES, so that it is the app which says that a file is too large."""
LONGEST_TIMEOUT_SECONDS = 180
"""Azure ML's own limit, for a model that writes word by word on a CPU."""


class CannotStart(Exception):
    """The stack cannot start as asked; the message is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `./dev start` can be told."""

    port: int = 0
    """Of the Functions host; 0 takes a free one."""
    parts: frozenset[str] = frozenset(PARTS)
    deployments: Path | None = None
    """Instead of the repository's deployments.yaml."""
    tenants: Path | None = None
    """With it the app asks callers who they are; without, its one key opens every door."""
    llm: bool = False
    reload: bool = False


@dataclass(slots=True)
class Plan:
    """Children in the order of their start, and where to find what they serve."""

    first: list[ChildSpec] = field(default_factory=list)
    host: list[ChildSpec] = field(default_factory=list)
    """Starts when all others are ready."""
    http: str | None = None
    blob: str | None = None
    """Connection string."""
    service_bus: str | None = None
    """Connection string."""
    endpoints: dict[str, str] = field(default_factory=dict)
    """Scoring URLs, and for chat OpenAI's base URL."""
    endpoint_keys: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    """App settings that follow from the addresses."""


def make_plan(options: Options, state: StateFolder) -> Plan:
    """Choose ports and write the children's settings files. Raises CannotStart."""
    if unknown := options.parts - set(PARTS):
        raise CannotStart(f"No such part: {', '.join(sorted(unknown))}; there are {_list(PARTS)}.")
    for file in (options.deployments, options.tenants):
        if file is not None and not file.is_file():
            raise CannotStart(f"There is no file {file}.")
    plan = Plan()
    if "azurite" in options.parts:
        _add_azurite(plan, state)
    hub_port = free_port()
    if "hub" in options.parts:
        plan.first.append(_hub(hub_port, state))
    if "service_bus" in options.parts:
        _add_service_bus(plan, state)
    if "inference" in options.parts:
        _add_inference(plan, state, llm=options.llm)
    if "host" in options.parts:
        _add_host(plan, state, options, hub_port)
    return plan


def _add_azurite(plan: Plan, state: StateFolder) -> None:
    node = shutil.which("node")
    if node is None:
        raise CannotStart("Node.js is not on PATH; ./dev start finds and adds it.")
    if not AZURITE.folder.exists():
        raise CannotStart("Azurite is not installed; run ./dev setup.")
    port = free_port()
    address = ["--blobHost", HOST, "--blobPort", str(port)]
    script = AZURITE.folder / "azurite" / "dist" / "src" / "blob" / "main.js"
    data = ["--location", str(state.data("azurite"))]
    quiet = ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    command = [node, str(script), *address, *data, *quiet]
    plan.first.append(ChildSpec("azurite", command, PortOpen(port)))
    plan.blob = blob_connection_string(port)
    plan.environment["AzureWebJobsStorage"] = plan.blob


def blob_connection_string(port: int) -> str:
    """What clients of Azurite's blob service at this port connect with."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_ACCOUNT_KEY};"
        f"BlobEndpoint=http://{HOST}:{port}/{_ACCOUNT};"
    )


def _hub(port: int, state: StateFolder) -> ChildSpec:
    command = [sys.executable, "-m", "devhost.task_hub.durable", "--port", str(port)]
    command += ["--state", str(state.data("hub"))]
    return ChildSpec("hub", command, LogLine("Task hub ready:"))


def _add_service_bus(plan: Plan, state: StateFolder) -> None:
    port = free_port()
    command = [sys.executable, "-m", "devhost.service_bus", "--port", str(port)]
    command += ["--state", str(state.data("service_bus"))]
    plan.first.append(ChildSpec("service_bus", command, LogLine("Service Bus ready:")))
    plan.service_bus = connection_string(port)
    plan.environment[SERVICE_BUS_CONNECTION] = plan.service_bus


def _add_inference(plan: Plan, state: StateFolder, *, llm: bool) -> None:
    if not (LLM if llm else MODELS).ready():
        raise CannotStart(f"{MODELS.name} is not as pinned; run ./dev setup{' --llm' * llm}.")
    endpoints: list[Endpoint] = []
    for server in model_servers():
        port = free_port()
        if llm and server.endpoint == "chat":
            plan.first.append(_llm_server(port))
            routes = openai_routes()
        else:
            plan.first.append(_model_server(server, port))
            routes = scoring_routes()
        deployment = Deployment(
            name=server.deployment,
            upstream=f"http://{HOST}:{port}",
            routes=routes,
            concurrency=server.concurrency,
            timeout_seconds=LONGEST_TIMEOUT_SECONDS if llm else server.timeout_seconds,
        )
        key = secrets.token_urlsafe(32)
        endpoints.append(Endpoint(name=server.endpoint, key=key, deployments=[deployment]))
    _add_front(plan, state, endpoints)
    plan.environment["CHAT_ENDPOINT_MODEL"] = _LLM_MODEL if llm else _EXTRACTIVE_MODEL


def _add_front(plan: Plan, state: StateFolder, endpoints: list[Endpoint]) -> None:
    port = free_port()
    settings = state.path / "front.json"
    write_private(settings, FrontSettings(endpoints=endpoints).model_dump_json())
    module = [sys.executable, "-m", "devhost.inference.front"]
    command = [*module, "--port", str(port), "--settings", str(settings)]
    plan.first.append(ChildSpec("inference", command, HttpOk(port, "/healthz")))
    for endpoint in endpoints:
        path = "v1" if endpoint.name == "chat" else "score"
        url = f"http://{HOST}:{port}/{endpoint.name}/{path}"
        plan.endpoints[endpoint.name] = url
        plan.endpoint_keys[endpoint.name] = endpoint.key
        plan.environment[f"{endpoint.name.upper()}_ENDPOINT_URL"] = url
        plan.environment[f"{endpoint.name.upper()}_ENDPOINT_KEY"] = endpoint.key


def _model_server(server: ModelServer, port: int) -> ChildSpec:
    script = ROOT / "devhost" / "inference" / "server.py"
    command = [str(MODELS.python), "-P", str(script), "--port", str(port)]
    command += ["--entry_script", str(server.script)]
    environment = {**server.environment, "AML_APP_ROOT": str(server.code)}
    return ChildSpec(server.endpoint, command, HttpOk(port), environment)


def _llm_server(port: int) -> ChildSpec:
    script = ROOT / "devhost" / "inference" / "llm_server.py"
    command = [str(MODELS.python), "-P", str(script), "--port", str(port)]
    command += ["--model", _LLM_MODEL, "--parallel", str(_LLM_PARALLEL)]
    return ChildSpec("chat", command, HttpOk(port, "/health"), ready_seconds=180)


def _add_host(plan: Plan, state: StateFolder, options: Options, hub_port: int) -> None:
    if options.port and in_use(options.port):
        raise CannotStart(f"Port {options.port} is in use; choose another with --port.")
    port = options.port or free_port()
    plan.environment["SLUICE_LEDGER_JOURNAL"] = str(state.data("ledger"))
    environment = {**plan.environment, "FUNCTIONS_WORKER_RUNTIME": "python"}
    environment["FUNCTIONS_HOST_KEY"] = state.api_key()
    # Azure's own setting: by default a file of a batch would be too large for the host.
    limit = os.environ.get("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT") or str(LONGEST_BODY_BYTES)
    environment["FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"] = limit
    if options.deployments is not None:
        environment["SLUICE_DEPLOYMENTS"] = str(options.deployments.resolve())
    if options.tenants is not None:
        environment["SLUICE_TENANTS"] = str(options.tenants.resolve())
    command = [sys.executable, "-m", "devhost.functions_host", "--app", str(ROOT)]
    command += ["--host", HOST, "--port", str(port), "--hub", f"{HOST}:{hub_port}"]
    command += ["--state", str(state.data("host")), *(["--reload"] if options.reload else [])]
    plan.host.append(ChildSpec("host", command, LogLine("Host ready:"), environment))
    plan.http = f"http://{HOST}:{port}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
