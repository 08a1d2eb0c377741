"""The LiteLLM Router in process: takes its turns as it is told, in a process of its own.

`python -m tests.bench.peers.litellm_router --model URL`, with the Python of .venv-peers, takes a
turn for each line `CONCURRENT SECONDS` on its input and prints the turn's metrics, as JSON. One
deployment, the Router's defaults, but no retries: there is nowhere else to go.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

import uvloop
from litellm import Router

from tests.bench.peers.calls import ANSWER_TOKENS, MODEL, PAYLOAD, take_turn


def router(url: str) -> Router:
    parameters = {"model": f"openai/{MODEL}", "api_base": url, "api_key": "key"}
    deployment = {"model_name": MODEL, "litellm_params": parameters}
    return Router(model_list=[deployment], num_retries=0)


async def serve(url: str) -> None:
    models = router(url)

    async def call() -> None:
        answer = await models.acompletion(model=MODEL, **PAYLOAD)
        assert answer.usage.completion_tokens == ANSWER_TOKENS

    while line := await asyncio.to_thread(sys.stdin.readline):
        concurrent, seconds = line.split()
        metrics = await take_turn(call, int(concurrent), float(seconds))
        sys.stdout.write(json.dumps(metrics) + "\n")
        sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, metavar="URL")
    uvloop.run(serve(parser.parse_args().model))


if __name__ == "__main__":
    main()
