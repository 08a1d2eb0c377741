"""What of the app's models and flows a caller may use."""

from __future__ import annotations

from typing import Protocol

from contracts.errors import Forbidden
from contracts.flows import FlowInfo
from contracts.identity import Identity


class Scoped(Protocol):
    """An identity, or what was accepted of one."""

    @property
    def models(self) -> frozenset[str] | None: ...

    @property
    def flows(self) -> frozenset[str] | None: ...


def may_call(who: Scoped, model: str) -> bool:
    """Whether this caller may name this model; `model` may be pinned: `NAME@PIN`."""
    return who.models is None or model.partition("@")[0] in who.models


def may_run(who: Scoped, flow: FlowInfo) -> bool:
    """Whether this caller may name this flow.

    Where flows are named, they are allowed with the models that they call themselves; else those
    flows are that call no other model than the caller may.
    """
    if who.flows is not None:
        return flow.name in who.flows
    return all(may_call(who, model) for model in flow.models)


def check_model(identity: Identity, model: str) -> None:
    """Raises Forbidden."""
    if not may_call(identity, model):
        name = model.partition("@")[0]
        raise Forbidden(f"{identity.subject} may not use the model {name!r}; {_known(identity)}.")


def check_flow(identity: Identity, flow: FlowInfo) -> None:
    """Raises Forbidden."""
    if not may_run(identity, flow):
        raise Forbidden(f"{identity.subject} may not use the flow {flow.name!r}.")


def _known(identity: Identity) -> str:
    return f"it may use {', '.join(sorted(identity.models or ())) or 'none'}"
