"""`python -m devhost.task_hub --port 0 [--port-file FILE]`: the task hub as a process."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path

from devhost.task_hub import HubSettings, open_hub

STOP_GRACE_SECONDS = 1.0


def main() -> int:
    arguments = _parse()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    # The vendor's hub writes several lines for every instance.
    logging.getLogger("durabletask").setLevel(logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    hub = open_hub(
        HubSettings(port=arguments.port, redelivery_seconds=arguments.redelivery_seconds)
    )
    try:
        address = hub.start()
    except OSError as error:
        sys.stderr.write(f"The task hub cannot start: {error}\n")
        return 1
    if arguments.port_file is not None:
        _write_whole(arguments.port_file, address.rpartition(":")[2])
    sys.stdout.write(f"Task hub ready: {address}\n")
    sys.stdout.flush()
    stop.wait()
    hub.stop(STOP_GRACE_SECONDS)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devhost.task_hub", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--port-file", type=Path, help="the port is written here once it serves")
    parser.add_argument(
        "--redelivery-seconds",
        type=float,
        default=HubSettings().redelivery_seconds,
        help="after which the work of a worker that went away is given to others",
    )
    return parser.parse_args()


def _write_whole(path: Path, text: str) -> None:
    """So that who waits for the file never reads half of it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.rename(path)


if __name__ == "__main__":
    sys.exit(main())
