"""What workers share, read anew for an operator who looks at it or changes it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import azure.durable_functions as df
import grpc

from contracts.deployments import DeploymentStatus
from contracts.errors import Conflict, DependencyUnavailable, NotFound
from contracts.sharing import SharedModel
from wiring import Parts
from wiring.exchange import Exchange, read_shared


def exchange_of(parts: Parts) -> Exchange:
    """Raises Conflict when the app shares nothing."""
    if parts.exchange is None:
        raise Conflict(
            "This app's workers share nothing (SLUICE_SHARING is false): change deployments.yaml."
        )
    return parts.exchange


async def refreshed(
    parts: Parts, client: df.DurableFunctionsClient, models: Iterable[str]
) -> dict[str, SharedModel]:
    """What workers share of these models, which this one then also knows."""
    if parts.exchange is None:
        return {model: SharedModel() for model in models}
    parts.share_by(client)

    async def refresh(model: str) -> tuple[str, SharedModel]:
        assert parts.exchange is not None
        shared = await read_shared(client, model)
        if shared is not None:
            parts.exchange.models[model].apply(shared)
        return model, shared or SharedModel()

    try:
        return dict(await asyncio.gather(*(refresh(model) for model in models)))
    except grpc.RpcError as error:
        raise unreachable() from error


def find_deployment(parts: Parts, name: str) -> DeploymentStatus:
    """Raises NotFound, which names those that there are."""
    statuses = parts.endpoints.statuses()
    for status in statuses:
        if status.name == name:
            return status
    known = ", ".join(status.name for status in statuses)
    raise NotFound(f"There is no deployment {name!r}; there are {known}.")


def unreachable() -> DependencyUnavailable:
    return DependencyUnavailable(
        "What workers share cannot be read or changed now. Try again in a few seconds."
    )
