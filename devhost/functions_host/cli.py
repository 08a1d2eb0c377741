"""The command line: `python -m devhost.functions_host --app DIR --hub HOST:PORT …`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from devhost.functions_host.json_config import SettingsError
from devhost.functions_host.settings import LocalSettings, apply_settings, read_local_settings

logger = logging.getLogger("sluice.functions_host")

KEY_VARIABLE = "FUNCTIONS_HOST_KEY"
_BACKLOG = 2048
_QUIET = ("azure", "durabletask", "grpc", "uvicorn", "watchfiles")


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code. What keeps the host from starting is said on stderr."""
    options = _parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    options.app = options.app.resolve()
    options.state = options.state and options.state.resolve()
    try:
        settings = read_local_settings(options.settings or options.app / "local.settings.json")
        listener = _listen(options, settings)
        if options.reload:
            return _supervise(options, listener)
        return _serve(options, settings, listener)
    except (SettingsError, OSError) as error:
        sys.stderr.write(f"The host cannot start: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devhost.functions_host",
        description="Serves a Python Azure Functions app (v2 programming model) on this machine.",
    )
    parser.add_argument("--app", type=Path, required=True, help="folder that holds function_app.py")
    parser.add_argument("--hub", required=True, help="host:port of the task hub")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument(
        "--port", type=int, help="0 takes a free one; else Host.LocalHttpPort, 7071"
    )
    parser.add_argument(
        "--key",
        default=os.environ.get(KEY_VARIABLE),
        help=f"key of functions, webhooks and admin, else ${KEY_VARIABLE}; "
        "without one they are open, as with func start",
    )
    parser.add_argument("--settings", type=Path, help="else local.settings.json of the app")
    parser.add_argument("--state", type=Path, help="folder where timers note their last run")
    parser.add_argument("--grace", type=float, default=5.0, help="seconds to finish when stopped")
    parser.add_argument("--reload", action="store_true", help="start again when the app changes")
    parser.add_argument("--listen-fd", type=int, help=argparse.SUPPRESS)  # a supervisor's socket
    return parser


def _listen(options: argparse.Namespace, settings: LocalSettings) -> socket.socket:
    if options.listen_fd is not None:
        return socket.socket(fileno=options.listen_fd)
    port = settings.port if options.port is None else options.port
    return socket.create_server((options.host, port), backlog=_BACKLOG)


def _supervise(options: argparse.Namespace, listener: socket.socket) -> int:
    from devhost.functions_host.reload import supervise

    arguments = [argument for argument in sys.argv[1:] if argument != "--reload"]
    return asyncio.run(supervise(options.app, arguments, listener, options.grace))


def _serve(options: argparse.Namespace, settings: LocalSettings, listener: socket.socket) -> int:
    """Imports wait until here: a supervisor needs none of them, and the app none of its settings
    later than its own import."""
    apply_settings(settings, os.environ)
    os.chdir(options.app)
    from devhost.functions_host.app_loader import AppError, load_app
    from devhost.functions_host.host_json import read_host_config
    from devhost.functions_host.keys import Keys
    from devhost.functions_host.server import HostOptions, serve

    keys = Keys.single(options.key) if options.key else None
    host_options = HostOptions(
        options.app, options.hub.removeprefix("http://"), keys, options.state, options.grace
    )
    try:
        config = read_host_config(options.app / "host.json")
        functions = load_app(options.app)
        shown_host = "localhost" if options.host in {"127.0.0.1", "0.0.0.0"} else options.host  # noqa: S104
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve(host_options, config, functions, listener, shown_host))
    except AppError as error:
        sys.stderr.write(f"The app cannot be served: {error}\n")
        if error.__cause__ is not None:
            logger.error("Caused by", exc_info=error.__cause__)
        return 1
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where there is one (not on Windows); None for the standard library's."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
