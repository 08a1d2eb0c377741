"""The hub on a port: runs its loop, its commits and its clock until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import closing, suppress

from grpc import aio

from devhost.task_hub.durable.clock import SystemClock
from devhost.task_hub.durable.committer import Committer
from devhost.task_hub.durable.database import Database
from devhost.task_hub.durable.hub import Hub
from devhost.task_hub.durable.service import Service
from devhost.task_hub.durable.settings import HubSettings
from devhost.task_hub.durable.ticker import Ticker

logger = logging.getLogger("sluice.task_hub")

HOST = "127.0.0.1"
GRACE_SECONDS = 1.0
"""For calls that run when the hub is stopped."""
PING_SECONDS = 30.0
"""Between health pings to workers with nothing to do; they expect one in 120 seconds."""

_OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A client may keep its idle connection alive as often as it likes.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
]


async def serve(
    settings: HubSettings,
    stop: asyncio.Future[float],
    on_ready: Callable[[int], None],
) -> None:
    """Serve until `stop` says how many seconds calls that run may still take.

    `on_ready` gets the port.

    Raises StateDirectoryError when the state cannot be used, OSError when the port is taken.
    """
    server = aio.server(options=_OPTIONS)
    port = _bind(server, settings.port)
    with closing(Database(settings.state, settings.synchronous)) as database:
        hub = Hub(database, SystemClock(), settings)
        committer = Committer(database, hub.journal, hub.dispatcher.pump)
        try:
            service = Service(hub, committer)
            server.add_generic_rpc_handlers((service.handler(),))
            await server.start()
            ticker = Ticker(hub, committer.give_up)
            on_ready(port)
            await _until(stop, committer, service)
            ticker.stop()
            service.close()
            await server.stop(stop.result() if stop.done() else 0)
        finally:
            await committer.close()
        if committer.failed.done():
            committer.failed.result()


async def _until(stop: asyncio.Future[float], committer: Committer, service: Service) -> None:
    """Until `stop` is set, or nothing can be committed any more; workers are pinged meanwhile."""
    ends = (stop, committer.failed)
    while not any(end.done() for end in ends):
        await asyncio.wait(ends, timeout=PING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        service.ping()


def _bind(server: aio.Server, port: int) -> int:
    try:
        bound: int = server.add_insecure_port(f"{HOST}:{port}")
    except RuntimeError as error:
        raise OSError(f"port {port} of {HOST} is taken") from error
    return bound


def set_once(stop: asyncio.Future[float], grace_seconds: float) -> None:
    """Set `stop`, if it is not set yet."""
    if not stop.done():
        stop.set_result(grace_seconds)


class DurableHub:
    """The hub in a thread of its own: what `devhost.task_hub.Hub` asks for."""

    def __init__(self, settings: HubSettings) -> None:
        self._settings = settings
        self._thread = threading.Thread(target=self._run, name="task-hub", daemon=True)
        self._started = threading.Event()
        self._port = 0
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Future[float] | None = None

    def start(self) -> str:
        """Serve in the background. Returns `host:port`; raises as `serve` does."""
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            raise self._error
        return f"{HOST}:{self._port}"

    def stop(self, grace: float | None = None) -> None:
        """Stop serving; calls that run get `grace` seconds. Blocks until all is written."""
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # the loop ended by itself
                loop.call_soon_threadsafe(set_once, stop, GRACE_SECONDS if grace is None else grace)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
            if self._started.is_set():
                logger.exception("The task hub ended")
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = self._loop.create_future()

        def ready(port: int) -> None:
            self._port = port
            self._started.set()

        await serve(self._settings, self._stop, ready)
