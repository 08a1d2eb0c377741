"""Starts the stack, runs a job through each flow, and checks and shows the answers.

Exit status 0 only if every answer arrived and is right.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import aiohttp
from pydantic import ValidationError

from devhost.demo.cases import Case, WrongAnswer, cases
from devhost.demo.client import DemoFailed, Job, run_job
from devhost.demo.screen import Screen
from devhost.stack.plan import CannotStart, Options
from devhost.stack.running import stack


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__)
    parser.add_argument("--llm", action="store_true", help="chat with a small language model")
    options = parser.parse_args(arguments)
    try:
        return asyncio.run(_demo(Screen(), llm=options.llm))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


async def _demo(screen: Screen, *, llm: bool) -> int:
    task = asyncio.current_task()
    if task is not None:
        with suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    state = Path(tempfile.mkdtemp(prefix="sluice-demo-"))
    wrong = await _run_stack(screen, state, llm=llm)
    if wrong:
        screen.line(f"{wrong}; the logs are in {state / 'logs'}")
        return 1
    shutil.rmtree(state)
    screen.line("Every answer is right.")
    return 0


async def _run_stack(screen: Screen, state: Path, *, llm: bool) -> str:
    """Returns what went wrong; nothing if all is right."""
    screen.heading("Starting the local stack")
    began = time.monotonic()
    try:
        async with stack(Options(llm=llm), state=state, say=screen.line) as running:
            screen.line(f"  ready in {time.monotonic() - began:.1f} s: {running.http}")
            for name, url in running.endpoints.items():
                screen.line(f"  model endpoint {name}: {url}")
            headers = {"x-functions-key": running.api_key}
            async with aiohttp.ClientSession(running.http, headers=headers) as session:
                wrong = await run_cases(session, screen, cases(llm=llm))
            screen.heading("Stopping everything")
    except CannotStart as error:
        return str(error)
    return f"{wrong} answers are missing or wrong" if wrong else ""


async def run_cases(session: aiohttp.ClientSession, screen: Screen, chosen: list[Case]) -> int:
    """Run all at once; returns how many answers are missing or wrong."""
    screen.heading(f"Posting {len(chosen)} jobs to /v1/jobs")

    async def one(case: Case) -> Job:
        return await run_job(session, case, lambda status: screen.status(case.flow, status))

    outcomes = await asyncio.gather(*(one(case) for case in chosen), return_exceptions=True)
    screen.heading("Answers")
    return sum(
        not _right(screen, case, outcome) for case, outcome in zip(chosen, outcomes, strict=True)
    )


def _right(screen: Screen, case: Case, outcome: Job | BaseException) -> bool:
    try:
        if isinstance(outcome, BaseException):
            raise outcome
        if outcome.status != "succeeded":
            why = outcome.error.detail if outcome.error else "no reason given"
            raise WrongAnswer(f"{outcome.status}: {why}")
        answer = case.check(outcome.result)
    except (WrongAnswer, DemoFailed, ValidationError, aiohttp.ClientError) as error:
        screen.failure(case.flow, case.asks, str(error) or type(error).__name__)
        return False
    screen.answer(case.flow, case.asks, answer, outcome)
    return True


if __name__ == "__main__":
    sys.exit(main())
