"""How many jobs a second the whole local stack accepts and finishes, beside other engines.

Every system does the same work, one model call a job, its input kept and its result kept, against
the same simulated model in a process of its own:

    Sluice, HTTP          POST /v1/jobs, through host, task hub and Azurite
    Sluice, Service Bus   a message in, a reply out, through the broker as well
    DBOS                  a workflow of one step, on SQLite, as DBOS ships it
    DBOS, tuned           with SQLite's write-ahead log and no flush to disk at a commit: what it
                          keeps then outlives a killed process but not a power cut, like the local
                          stack's
    asyncio, bare         a queue and tasks in memory; keeps nothing: the limit

DBOS and the bare worker are given jobs inside their own process: no network, no door, no checks.
And one fan-out of 1,000 trivial activities on the local host and hub; for DBOS 1,000 queued
children, and 1,000 steps of one workflow.

The systems take turns, each started anew, for so many rounds; figures are medians over rounds,
ratios are medians of each round's ratio. cpu_ms is the CPU time of the system's own processes for
one job (for DBOS and the bare worker with their callers'). Ratios are the result: absolute figures
are the machine's.

    ./dev bench jobs [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import uvloop

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
# Else it says a line for each child that is started after its client was used here.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from devhost.inference.simulated import simulated_process  # noqa: E402
from devhost.setup.environments import PEERS  # noqa: E402
from devhost.setup.install import set_up_only  # noqa: E402
from tests.bench.app_doors import (  # noqa: E402
    HttpDoor,
    QueueDoor,
    cpu_by_part,
    http_door,
    queue_door,
    running_app,
)
from tests.bench.bench_task_hub import connected, rate  # noqa: E402
from tests.bench.peers.load import (  # noqa: E402
    FAN_OUT,
    FAN_OUT_WIDTH,
    JOB_CASES,
    Metrics,
    Worker,
    measure,
)
from tests.bench.report import Goal, Report, Row, medians  # noqa: E402

HTTP, BUS = "Sluice, HTTP", "Sluice, Service Bus"
DBOS, DBOS_TUNED, BARE = "DBOS", "DBOS, tuned", "asyncio, bare"
HUB = "Sluice, host and hub"
MODEL = "simulated"
PEER_SECONDS = 240
RATIOS = "finished jobs/s, as a multiple of (each system in its best case)"
TIMES_DBOS = 2.0
FAN_OUT_PER_S = 450.0

type Cases = dict[str, Metrics]
"""Metrics by case."""
type Round = dict[str, Cases]
"""Cases by system."""


# The systems.


async def measure_app(model_url: str) -> Round:
    """Both doors, one after the other, of one stack."""
    async with running_app(model_url) as running:

        async def through(door: HttpDoor | QueueDoor) -> Cases:
            return await measure(Worker(door.start, door.call, lambda: cpu_by_part(running)))

        async with http_door(running) as http:
            measured = {HTTP: await through(http)}
        async with queue_door(running) as queue:
            measured[BUS] = await through(queue)
    return measured


async def measure_app_fan_out() -> Cases:
    async with connected("durable", "functions") as client:
        per_second = await rate("fan", FAN_OUT_WIDTH, 1, FAN_OUT_WIDTH)(client)
    return {FAN_OUT: {"per_s": per_second}}


def measure_dbos(model_url: str, *options: str) -> Cases:
    with tempfile.TemporaryDirectory() as state:
        return measure_program(
            PEERS.python, "dbos_jobs", "--model", model_url, "--state", state, *options
        )


def measure_program(python: Path, name: str, *arguments: str) -> Cases:
    """What a program of tests/bench/peers prints."""
    done = subprocess.run(
        [str(python), "-m", f"tests.bench.peers.{name}", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        timeout=PEER_SECONDS,
        check=True,
    )
    measured: Cases = json.loads(done.stdout)
    return measured


def measure_all(model_url: str) -> Round:
    """One turn of each system."""
    return {
        **uvloop.run(measure_app(model_url)),
        DBOS: measure_dbos(model_url),
        HUB: uvloop.run(measure_app_fan_out()),
        DBOS_TUNED: measure_dbos(model_url, "--tuned"),
        BARE: measure_program(Path(sys.executable), "bare_jobs", "--model", model_url),
    }


# What it comes to.


def summary(rounds: list[Round]) -> Report:
    report = Report()
    for case in (*JOB_CASES, FAN_OUT):
        for system in rounds[0]:
            if case in rounds[0][system]:
                figures = medians([each[system][case] for each in rounds])
                report.rows.append(Row(system, case, figures))
    for system in (HTTP, BUS):
        others = {other: ratio(rounds, system, other) for other in (DBOS, DBOS_TUNED, BARE)}
        report.rows.append(Row(system, RATIOS, others))
        name = f"finished jobs/s of {system}, as a multiple of DBOS's"
        report.goals.append(Goal.at_least(name, others[DBOS], TIMES_DBOS))
    fan_out = medians([each[HUB][FAN_OUT] for each in rounds])["per_s"]
    name = f"activities/s in {FAN_OUT}"
    report.goals.append(Goal.at_least(name, fan_out, FAN_OUT_PER_S))
    return report


def ratio(rounds: list[Round], system: str, other: str) -> float:
    return statistics.median(best(each[system]) / best(each[other]) for each in rounds)


def best(cases: Cases) -> float:
    """Finished jobs a second, given in the way that suits the system best."""
    return max(cases[case]["finished_per_s"] for case in JOB_CASES)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    set_up_only(PEERS)
    sys.stdout.write((__doc__ or "") + "\n")
    rounds: list[Round] = []
    with simulated_process(MODEL) as url:
        for number in range(options.rounds):
            sys.stdout.write(f"round {number + 1} of {options.rounds}\n")
            sys.stdout.flush()
            rounds.append(measure_all(f"{url}/{MODEL}/v1"))
    summary(rounds).publish(options.json)


if __name__ == "__main__":
    main()
