"""Puts the parts together and keeps them running until a signal comes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from azure.durable_functions import DurableFunctionsClient

from devhost.functions_host.admin import Admin
from devhost.functions_host.app_loader import AppFunction
from devhost.functions_host.durable_binding import client_binding
from devhost.functions_host.durable_calls import (
    ENTITY_TRIGGER,
    ORCHESTRATION_TRIGGER,
    durable_names,
)
from devhost.functions_host.entity_operations import EntityOperations
from devhost.functions_host.host_json import HostConfig
from devhost.functions_host.http_endpoints import http_endpoints
from devhost.functions_host.http_messages import MAX_BODY_BYTES
from devhost.functions_host.http_streams import StreamedMessages
from devhost.functions_host.http_trigger import HttpTriggers, Serving
from devhost.functions_host.http_whole import WholeMessages
from devhost.functions_host.hub_link import HubLink
from devhost.functions_host.instance_operations import InstanceOperations
from devhost.functions_host.invoker import Invoker
from devhost.functions_host.keys import Keys
from devhost.functions_host.listing import list_functions
from devhost.functions_host.pumps import Pump, Services, input_bindings, open_pumps, split_served
from devhost.functions_host.settings import whole_number
from devhost.functions_host.web import Web
from devhost.functions_host.web_extension import web_extension
from devhost.functions_host.webhooks import DurableWebhooks

logger = logging.getLogger("sluice.functions_host")

_KEEP_ALIVE_SECONDS = 75
_LAST_SECONDS = 2.0
"""After the grace: for answers on the wire, before the process leaves whatever still runs."""


@dataclass(frozen=True, slots=True)
class HostOptions:
    """Where the app is and how it is served."""

    app: Path
    hub: str
    """`host:port` of the task hub."""
    keys: Keys | None = None
    """None leaves every function open, as `func start` does."""
    state: Path | None = None
    grace: float = 5.0
    """Seconds that running functions get when the host stops."""


@dataclass(frozen=True, slots=True)
class Site:
    """The host, put together and not started."""

    web: Web
    pumps: list[Pump]
    link: HubLink
    invoker: Invoker
    listing: str


def build_site(
    options: HostOptions, config: HostConfig, functions: Sequence[AppFunction], url: str
) -> Site:
    """Raises AppError or SettingsError. Needs a running event loop, for gRPC's channels."""
    system_key = None if options.keys is None else options.keys.system
    binding = client_binding(options.hub, url, system_key, config.durable)
    inputs = input_bindings(binding)
    served, unserved = split_served(functions, inputs)
    endpoints = http_endpoints(served, config.http.route_prefix)
    threads = whole_number(
        os.environ, "PYTHON_THREADPOOL_THREAD_COUNT", min(32, (os.cpu_count() or 1) + 4)
    )
    invoker = Invoker(options.app, threads, inputs)
    link = HubLink(options.hub)
    links = DurableFunctionsClient(binding)
    services = Services(invoker, link, config, options.state)
    operations = (
        InstanceOperations(link, links, durable_names(served, ORCHESTRATION_TRIGGER)),
        EntityOperations(link, durable_names(served, ENTITY_TRIGGER)),
    )
    body_limit = whole_number(os.environ, "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", MAX_BODY_BYTES)
    serving = _serving([each.function for each in endpoints], invoker, body_limit)
    web = Web(
        HttpTriggers(endpoints, serving, options.keys, config.http),
        DurableWebhooks(operations, options.keys),
        Admin(served, endpoints, options.keys, url),
    )
    listing = list_functions(url, endpoints, served, unserved)
    return Site(web, open_pumps(services, served), link, invoker, listing)


def _serving(functions: Sequence[AppFunction], invoker: Invoker, body_limit: int) -> Serving:
    extension = web_extension()
    if extension is None:
        return WholeMessages(invoker, body_limit)
    extension.check(functions)
    return StreamedMessages(extension, invoker, body_limit)


class _Server(uvicorn.Server):
    """The host handles signals itself: they stop more than the web server."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    options: HostOptions,
    config: HostConfig,
    functions: Sequence[AppFunction],
    listener: socket.socket,
    shown_host: str,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Prints the functions and `Host ready: URL`."""
    url = f"http://{shown_host}:{listener.getsockname()[1]}"
    site = build_site(options, config, functions, url)
    stop = _stop_on_signals(options.grace)
    server = _Server(
        uvicorn.Config(
            site.web,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, round(options.grace)),
        )
    )
    serving = asyncio.create_task(server.serve([listener]))
    starting = asyncio.create_task(_start(site, url))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()  # raises what kept it from starting
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        starting.cancel()
        server.should_exit = True
        await asyncio.gather(*(pump.stop(options.grace) for pump in site.pumps))
        await serving
        await site.link.close()
        site.invoker.close()
        if site.invoker.in_threads:
            _leave()


async def _start(site: Site, url: str) -> None:
    await site.link.wait_until_there()
    for pump in site.pumps:
        await pump.start()
    sys.stdout.write(f"{site.listing}\nHost ready: {url}\n")
    sys.stdout.flush()


def _stop_on_signals(grace: float) -> asyncio.Event:
    stop = asyncio.Event()

    def ask() -> None:
        if stop.is_set():
            os._exit(1)  # asked twice: at once
        logger.info("Stopping: %g s for what runs", grace)
        # Functions gives an app no moment to close its clients; the end of the process does.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        stop.set()
        # A thread that runs on cannot be stopped, and would keep the process for ever.
        last = threading.Timer(grace + _LAST_SECONDS, _leave)
        last.daemon = True
        last.start()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not loop.add_signal_handler, which Windows lacks.
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(ask))
    return stop


def _leave() -> None:
    logger.warning("Some calls did not end in time; their work is left to the next start")
    logging.shutdown()
    os._exit(0)
