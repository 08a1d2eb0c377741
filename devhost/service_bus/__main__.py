"""`python -m devhost.service_bus --port 5672 --state DIR [--config FILE]`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sqlite3
import sys
from pathlib import Path

from devhost.service_bus.config.load import DEFAULT_CONFIG, ConfigError, load
from devhost.service_bus.core.settings import NamespaceSettings
from devhost.service_bus.core.store import StateInUse, StateUnreadable, Store
from devhost.service_bus.transport.server import Server

HOST = "127.0.0.1"
STATE_FILE = "service-bus.sqlite3"


def connection_string(port: int) -> str:
    """What clients connect with; the key is the emulator's and is not checked."""
    return (
        f"Endpoint=sb://localhost:{port};SharedAccessKeyName=RootManageSharedAccessKey;"
        "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
    )


def main() -> int:
    arguments = _arguments()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        settings = load(arguments.config)
        arguments.state.mkdir(parents=True, exist_ok=True)
        store = Store(arguments.state / STATE_FILE)
    except (ConfigError, StateInUse, StateUnreadable, OSError) as error:
        return _failed(error)
    try:
        asyncio.run(_serve(settings, store, arguments.port))
    except (OSError, sqlite3.Error) as error:
        return _failed(error)
    finally:
        store.close()
    return 0


async def _serve(settings: NamespaceSettings, store: Store, port: int) -> None:
    server = Server(settings, store)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(server.end))
    port = await server.start(HOST, port)
    print(f"Service Bus ready: {connection_string(port)}", flush=True)  # noqa: T201
    try:
        await server.ended
    finally:
        await server.stop()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m devhost.service_bus",
        description="A local Service Bus for the azure-servicebus SDK, on 127.0.0.1.",
    )
    parser.add_argument("--port", type=int, default=5672, help="0 for a free one; default 5672")
    parser.add_argument("--state", type=Path, required=True, help="directory that keeps everything")
    parser.add_argument(
        "--config",
        type=Path,
        default=DEFAULT_CONFIG,
        help="the entities, in the format of the official emulator's config.json",
    )
    return parser.parse_args()


def _failed(error: Exception) -> int:
    print(f"Service Bus cannot run: {error}", file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main())
