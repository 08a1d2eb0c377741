"""Models and the deployments that serve them.

`Endpoints` is the way in: it loads deployments.yaml and answers a `ModelCall`.

    settings      deployments.yaml, checked; `marked_yaml` keeps the lines for its errors
    invoke        which deployments are asked, in which order, and how a call ends
    deployment    one deployment asked once: credential, request, verdict, the attempt's record
    standing      what is remembered of a deployment between calls
    endings       the one error that sums up a call that nobody answered
    protocols/    how each kind of deployment is spoken to
    verdicts      what a status means; `retry_after` reads when to come back
    credentials   a key, or a cached token of a managed identity
    client        the one HTTP client; `wire` is what passes between it and the protocols

Nothing here waits for capacity: that is the orchestrator's, on a durable timer.
"""

from endpoints.invoke import Endpoints

__all__ = ["Endpoints"]
