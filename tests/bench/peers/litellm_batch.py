"""A batch of calls through the LiteLLM Router, behind a semaphore as its users write it.

`python -m tests.bench.peers.litellm_batch --model URL --lines N --at-once N`, with the Python of
.venv-peers, prints the seconds that all lines took and the process's peak memory, as JSON. The
Router's own limit, `max_parallel_requests`, refuses what exceeds it instead of queueing it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time

import uvloop

from tests.bench.peers.calls import MODEL, PAYLOAD
from tests.bench.peers.litellm_router import router


async def run(url: str, lines: int, at_once: int) -> dict[str, float]:
    models = router(url)
    places = asyncio.Semaphore(at_once)

    async def line() -> None:
        async with places:
            answer = await models.acompletion(model=MODEL, **PAYLOAD)
            assert answer.usage.completion_tokens

    await line()  # the first call imports and builds much
    began = time.perf_counter()
    await asyncio.gather(*(line() for _ in range(lines)))
    return {
        "seconds": time.perf_counter() - began,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, metavar="URL")
    parser.add_argument("--lines", type=int, required=True)
    parser.add_argument("--at-once", type=int, required=True)
    told = parser.parse_args()
    sys.stdout.write(json.dumps(uvloop.run(run(told.model, told.lines, told.at_once))) + "\n")


if __name__ == "__main__":
    main()
