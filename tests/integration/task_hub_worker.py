"""A worker as a process of its own: `python -m tests.integration.task_hub_worker ADDRESS`.

It says `Ready` and takes work until it is killed, or until it is given `exit_at_once`.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from durabletask import task

from tests.integration.task_hub_harness import double, fan, one, worker


def exit_at_once(_: task.ActivityContext, __: object) -> None:
    os._exit(13)


def nap(_: task.ActivityContext, seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def nap_many(context: task.OrchestrationContext, count: int):
    naps = [context.call_activity(nap, input=0.05) for _ in range(count)]
    return (yield task.when_all(naps))


def poisoned(context: task.OrchestrationContext, _):
    yield context.call_activity(exit_at_once)


def main(address: str) -> None:
    with worker(
        address,
        orchestrators=[one, fan, nap_many, poisoned],
        activities=[double, nap, exit_at_once],
        threads=4,
    ):
        sys.stdout.write("Ready\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
