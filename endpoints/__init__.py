"""Models and the deployments that serve them.

`Endpoints` is the way in: it loads deployments.yaml and answers a `ModelCall`.

    settings      deployments.yaml, checked; `marked_yaml` keeps the lines for its errors
    invoke        the models of the file, and the way in
    model         one model: a call's way through its deployments; `hedging`, `mirroring`
    routing/      which deployment takes a call, and when
    deployment    one deployment asked once: credential, request, verdict, the attempt's record
    status        a deployment as an operator sees it
    sharing       what this worker tells others of a model, and takes from them
    long_calls    models whose calls outlast a step; `long_running` carries one on, `looks` reads
    endings       the one error that sums up a call that nobody answered
    protocols/    how each kind of deployment is spoken to
    verdicts      what a status means; `retry_after` reads when to come back
    credentials   a key, or a cached token of a managed identity
    sql/          a wire to a database, for what is no HTTP server
    client        the one HTTP client; `wire` is what passes between it and the protocols

Nothing here waits longer for capacity than a call's patience: longer waits are the orchestrator's,
on a durable timer.
"""

from endpoints.invoke import Endpoints

__all__ = ["Endpoints"]
