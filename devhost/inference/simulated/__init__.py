"""Simulated model deployments that can be made slow, full or broken while they run.

An instrument for tests and benches, to play the bad day of a region; what `./dev start` serves
are real models. It imports nothing of the app.

    python -m devhost.inference.simulated --port 0 --deployments sweden,france

    POST   /NAME/v1/chat/completions    OpenAI; with "stream": true as server-sent events
    POST   /NAME/v1/embeddings          OpenAI
    POST   /NAME/v1/responses           OpenAI, whole answers only
    POST   /NAME/score                  Azure ML; gives back the JSON that it was sent
    GET    /NAME/health                 200, or 503 when a failure is drawn for it
    GET    /_control                    the names
    PUT    /_control/NAME               behave so from now on (behaviour.py has the fields)
    GET    /_control/NAME               its state (state.py)
    DELETE /_control/NAME/counts        count from zero

Every answer has the header `x-deployment`, and the name as its model. No key is checked, a 401 is
a failure like the others:

    curl -X PUT localhost:PORT/_control/sweden -d '{
      "latency": {"kind": "lognormal", "p50_ms": 300, "p95_ms": 900},
      "capacity": 64, "workers": 16,
      "failures": [{"kind": "status", "status": 503, "probability": 0.5, "seconds": 20},
                   {"kind": "hang", "probability": 0.2, "seconds": 20}]}'

In tests `simulated(...)` serves them on the test's own loop, for the length of a block; benches
start `simulated_process(...)` and steer it with `SimulatedClient`.

    latency, failures, retry_after, what can be asked for
    behaviour
    rate_limit, deployment, state   what then becomes of each request, and what is counted
    answers, reply, delivery        what goes out, and how it is broken on its way
    control, app, connection        HTTP
    serving, process, client        the ways in
"""

from devhost.inference.simulated.behaviour import Behaviour
from devhost.inference.simulated.client import SimulatedClient
from devhost.inference.simulated.failures import Drop, Failure, Garbage, Hang, SlowBody, Status
from devhost.inference.simulated.latency import Constant, Lognormal, Uniform
from devhost.inference.simulated.process import simulated_process
from devhost.inference.simulated.retry_after import RetryAfter
from devhost.inference.simulated.serving import Simulated, simulated
from devhost.inference.simulated.state import Counts, State

__all__ = [
    "Behaviour",
    "Constant",
    "Counts",
    "Drop",
    "Failure",
    "Garbage",
    "Hang",
    "Lognormal",
    "RetryAfter",
    "Simulated",
    "SimulatedClient",
    "SlowBody",
    "State",
    "Status",
    "Uniform",
    "simulated",
    "simulated_process",
]
