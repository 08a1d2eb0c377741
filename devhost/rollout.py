"""`./dev rollout MODEL DEPLOYMENT`: starts a rollout and follows it to its end.

Exit status 0 only if the deployment has taken over. Interrupted, it follows no longer; the
rollout goes on, and `--cancel` ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import aiohttp

from contracts.rollouts import RolloutRecord, RolloutStatus, rollout_id
from devhost.service import ServiceFailed, add_service_options, ask, session_of

POLL_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
"""For a service that does not answer; the rollout goes on meanwhile."""

_RULES = {
    "step_seconds": "how long a step lasts",
    "max_error_rate": "share of failed calls that is borne, 0 to 1",
    "max_latency_ratio": "how many times as long as the others' its calls may take",
    "min_calls": "calls before a step is judged",
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return asyncio.run(_run(options))
    except ServiceFailed as error:
        _say(str(error))
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./dev rollout", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("deployment", nargs="?", help="which is to take the model's calls")
    add_service_options(parser)
    parser.add_argument("--steps", help="percent of the calls, such as 5,25,50,100")
    for name, text in _RULES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, help=text)
    parser.add_argument("--cancel", action="store_true", help="end the model's rollout instead")
    return parser


async def _run(options: argparse.Namespace) -> int:
    async with session_of(options) as session:
        name = rollout_id(options.model)
        if options.cancel:
            await _ask(session, "POST", f"/v1/rollouts/{name}/cancel")
        else:
            if options.deployment is None:
                raise ServiceFailed("Which deployment? ./dev rollout MODEL DEPLOYMENT")
            await _ask(session, "POST", "/v1/rollouts", _body(options))
        record = await _follow(session, f"/v1/rollouts/{name}")
    if record.reason is not None:
        _say(record.reason)
    wanted = RolloutStatus.CANCELLED if options.cancel else RolloutStatus.SUCCEEDED
    _say(f"{record.status}: {_weights(record)}")
    return 0 if record.status is wanted else 1


def _body(options: argparse.Namespace) -> dict[str, Any]:
    body: dict[str, Any] = {"model": options.model, "to": options.deployment}
    if options.steps is not None:
        try:
            body["steps"] = [float(percent) for percent in options.steps.split(",")]
        except ValueError:
            raise ServiceFailed("--steps: numbers with commas between, as 5,25,50,100") from None
    given = {name: getattr(options, name) for name in _RULES}
    return body | {name: value for name, value in given.items() if value is not None}


async def _ask(
    session: aiohttp.ClientSession, method: str, path: str, body: object = None
) -> RolloutRecord:
    return RolloutRecord.model_validate_json(await ask(session, method, path, body))


async def _follow(session: aiohttp.ClientSession, path: str) -> RolloutRecord:
    """To its end, saying what is new."""
    said = ""
    loop = asyncio.get_running_loop()
    heard_at = loop.time()
    while True:
        try:
            record = await _ask(session, "GET", path)
        except ServiceFailed:
            if loop.time() - heard_at > PATIENCE_SECONDS:
                raise
        else:
            heard_at = loop.time()
            if (line := _line(record)) != said:
                _say(said := line)
            if record.status.ended:
                return record
        await asyncio.sleep(POLL_SECONDS)


def _line(record: RolloutRecord) -> str:
    if not record.steps:
        return f"{record.to} of {record.model}: beginning"
    step = record.steps[-1]
    facts = [f"{record.to} {step.percent:g} %"]
    for who, side in ((record.to, step.new), ("others", step.others)):
        if side is not None and side.calls:
            facts.append(
                f"{who}: {side.calls} calls, {side.error_rate:.1%} failed,"
                f" mean {side.mean_seconds:.3g} s, p95 {side.p95_seconds:.3g} s"
            )
    return " · ".join(facts)


def _weights(record: RolloutRecord) -> str:
    return ", ".join(f"{name} weighs {weight:g}" for name, weight in record.weights.items())


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
