"""PromptFlow flows, DAG and flex, run by PromptFlow's own executors inside this process.

    dag, flex      the folder's files, read without the SDK: input schema, connections, models
    connections    the connections of a flow, and which model each stands for
    flow           a run: the key of the run, the gateway, the error that comes out
    executors      the only module that imports the SDK

A flow's code knows nothing of Sluice. The connections that it is given lead to
`adapters.model_gateway`, so the folder runs under `pf flow test` and on Azure ML as it is.
"""

from __future__ import annotations

from pathlib import Path

from flows.adapters.promptflow import dag, flex
from flows.adapters.promptflow.flow import PromptFlow
from flows.adapters.shared import Shared

DAG_FILE = dag.FILE
FLEX_FILE = flex.FILE


def load_dag(folder: Path, shared: Shared) -> PromptFlow:
    """Raises BrokenFolder."""
    return PromptFlow(dag.read(folder), shared.gateway)


def load_flex(folder: Path, shared: Shared) -> PromptFlow:
    """Raises BrokenFolder."""
    return PromptFlow(flex.read(folder), shared.gateway)
