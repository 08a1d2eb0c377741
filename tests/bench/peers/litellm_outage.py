"""The LiteLLM Router over several deployments, at a steady rate of calls.

`python -m tests.bench.peers.litellm_outage --per-second N --seconds N --timeout N URL ...`, with
the Python of .venv-peers, prints a line when it begins, and what came of each call when all have
ended: `[[began, ended, outcome], ...]`. Three retries and else the Router's defaults, with which it
answered more calls than with its documentation's example for reliability.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import astuple

import uvloop
from litellm import Router

from tests.bench.peers.calls import ANSWER_TOKENS, MODEL, PAYLOAD
from tests.bench.peers.open_loop import ANSWERED, BEGINS, offer


def router(urls: list[str], timeout: float) -> Router:
    deployments = [
        {
            "model_name": MODEL,
            "litellm_params": {"model": f"openai/{MODEL}", "api_base": url, "api_key": "key"},
        }
        for url in urls
    ]
    return Router(model_list=deployments, num_retries=3, timeout=timeout)


async def run(urls: list[str], per_second: float, seconds: float, timeout: float) -> None:
    models = router(urls, timeout)

    async def call() -> str:
        try:
            answer = await models.acompletion(model=MODEL, **PAYLOAD)
            assert answer.usage.completion_tokens == ANSWER_TOKENS
        except Exception as error:  # noqa: BLE001 - counted by its class
            return type(error).__name__
        return ANSWERED

    # The first calls import and build much.
    await asyncio.gather(*(call() for _ in range(len(urls) * 4)))
    sys.stdout.write(f"{BEGINS}\n")
    sys.stdout.flush()
    made = await offer(call, per_second, seconds)
    sys.stdout.write(json.dumps([astuple(each) for each in made]) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-second", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--timeout", type=float, required=True)
    parser.add_argument("urls", nargs="+", metavar="URL")
    told = parser.parse_args()
    uvloop.run(run(told.urls, told.per_second, told.seconds, told.timeout))


if __name__ == "__main__":
    main()
