"""Semantic Kernel flows: a prompt in Semantic Kernel's own YAML, with plugins if it has any.

prompt    the folder's files, read without the SDK: input schema, model
flow      a run
kernel    the shared kernel; the only module that imports the SDK
"""

from __future__ import annotations

from pathlib import Path

from flows.adapters.semantic_kernel import prompt
from flows.adapters.semantic_kernel.flow import SemanticKernelFlow
from flows.adapters.shared import Shared

FILE = prompt.FILE


def load(folder: Path, shared: Shared) -> SemanticKernelFlow:
    """Raises BrokenFolder."""
    return SemanticKernelFlow(prompt.read(folder), shared.redact)
