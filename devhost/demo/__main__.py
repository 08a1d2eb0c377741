"""Starts the stack, runs a job through each flow over each door, and checks the answers.

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

from contracts.names import REQUESTS_QUEUE
from devhost.demo.cases import Case, WrongAnswer, cases
from devhost.demo.client import DemoFailed, Job, run_job
from devhost.demo.queue import run_jobs
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
    doubt = " (of the language model's, only that there is one was checked)" if llm else ""
    screen.line(f"Every answer is right{doubt}.")
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
            wrong += await run_queue(running.service_bus, screen, cases(llm=llm))
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
    return _wrong(screen, chosen, outcomes)


async def run_queue(connection: str, screen: Screen, chosen: list[Case]) -> int:
    """The same jobs over Service Bus; returns how many replies are missing or wrong."""
    screen.heading(f"Sending {len(chosen)} jobs to the queue {REQUESTS_QUEUE}")
    outcomes = await run_jobs(connection, chosen, screen.status)
    return _wrong(screen, chosen, outcomes)


def _wrong(screen: Screen, chosen: list[Case], outcomes: Sequence[Job | BaseException]) -> int:
    screen.heading("Answers")
    rights = [_right(screen, case, outcome) for case, outcome in zip(chosen, outcomes, strict=True)]
    screen.forget()
    return rights.count(False)


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
