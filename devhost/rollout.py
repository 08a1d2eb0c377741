"""`./dev rollout MODEL DEPLOYMENT`: starts a rollout and follows it to its end.

Exit status 0 only if the deployment has taken over. Interrupted, it follows no longer; the
rollout goes on, and `--cancel` ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from contracts.rollouts import RolloutRecord, RolloutStatus, rollout_id

STACK = Path(".local/stack.json")
POLL_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
"""For a service that does not answer; the rollout goes on meanwhile."""
REQUEST_SECONDS = 30.0

_RULES = {
    "step_seconds": "how long a step lasts",
    "max_error_rate": "share of failed calls that is borne, 0 to 1",
    "max_latency_ratio": "how many times as long as the others' its calls may take",
    "min_calls": "calls before a step is judged",
}


class RolloutFailed(Exception):
    """The service refuses, or cannot be reached; says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return asyncio.run(_run(options))
    except RolloutFailed as error:
        _say(str(error))
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./dev rollout", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("deployment", nargs="?", help="which is to take the model's calls")
    parser.add_argument("--url", help="of the service; else that of ./dev start")
    parser.add_argument("--key", help="of the service; else that of ./dev start")
    parser.add_argument("--steps", help="percent of the calls, such as 5,25,50,100")
    for name, text in _RULES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, help=text)
    parser.add_argument("--cancel", action="store_true", help="end the model's rollout instead")
    return parser


async def _run(options: argparse.Namespace) -> int:
    async with _session(options) as session:
        name = rollout_id(options.model)
        if options.cancel:
            await _ask(session, "POST", f"/v1/rollouts/{name}/cancel")
        else:
            if options.deployment is None:
                raise RolloutFailed("Which deployment? ./dev rollout MODEL DEPLOYMENT")
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
            raise RolloutFailed("--steps: numbers with commas between, as 5,25,50,100") from None
    given = {name: getattr(options, name) for name in _RULES}
    return body | {name: value for name, value in given.items() if value is not None}


def _service(options: argparse.Namespace) -> tuple[str, str | None]:
    """Its address and key."""
    if options.url is not None:
        return options.url, options.key
    try:
        stack = json.loads(STACK.read_text(encoding="utf-8"))
    except OSError:
        raise RolloutFailed("No stack runs here (./dev start): give --url and --key.") from None
    return stack["http"], options.key or stack["api_key"]


@asynccontextmanager
async def _session(options: argparse.Namespace) -> AsyncIterator[aiohttp.ClientSession]:
    url, key = _service(options)
    headers = {"x-functions-key": key} if key else {}
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    async with aiohttp.ClientSession(url, headers=headers, timeout=timeout) as session:
        yield session


async def _ask(
    session: aiohttp.ClientSession, method: str, path: str, body: object = None
) -> RolloutRecord:
    try:
        async with session.request(method, path, json=body) as response:
            text = await response.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise RolloutFailed(f"The service cannot be reached: {type(error).__name__}") from error
    if response.status not in (200, 202):
        raise RolloutFailed(f"{method} {path} answered {response.status}: {_detail(text)}")
    return RolloutRecord.model_validate_json(text)


def _detail(text: str) -> str:
    try:
        return str(json.loads(text)["detail"])
    except (ValueError, LookupError, TypeError):
        return text[:200]


async def _follow(session: aiohttp.ClientSession, path: str) -> RolloutRecord:
    """To its end, saying what is new."""
    said = ""
    loop = asyncio.get_running_loop()
    heard_at = loop.time()
    while True:
        try:
            record = await _ask(session, "GET", path)
        except RolloutFailed:
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
