"""What a function sees of its own invocation, as its parameter `context`."""

from __future__ import annotations

import secrets
import threading
import uuid
from pathlib import Path
from typing import cast

import azure.functions as func

# Only the module with the abstract classes holds these.
from azure.functions._abc import RetryContext, RpcException, TraceContext


class LocalTrace(TraceContext):
    """W3C trace context: the caller's, or one that begins here."""

    def __init__(self, trace_parent: str | None, trace_state: str = "") -> None:
        self._parent = trace_parent or f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
        self._state = trace_state

    @property
    def trace_parent(self) -> str:
        return self._parent

    @property
    def trace_state(self) -> str:
        return self._state

    @property
    def attributes(self) -> dict[str, str]:
        return {}


class NoRetry(RetryContext):
    """The first and only try: this host retries no function by itself."""

    @property
    def retry_count(self) -> int:
        return 0

    @property
    def max_retry_count(self) -> int:
        return 0

    @property
    def exception(self) -> RpcException:
        raise LookupError("this is the first try")


class InvocationContext(func.Context):
    """One invocation of one function."""

    def __init__(
        self,
        function: str,
        directory: Path,
        local: threading.local,
        trace_parent: str | None,
        invocation_id: str | None,
    ) -> None:
        self._function = function
        self._directory = directory
        self._local = local
        self._trace_parent = trace_parent
        self._id = invocation_id or str(uuid.uuid4())

    @property
    def invocation_id(self) -> str:
        return self._id

    @property
    def thread_local_storage(self) -> type[threading.local]:
        # The vendor's annotation says type; its worker and its users hold an instance.
        return cast(type[threading.local], self._local)

    @property
    def function_name(self) -> str:
        return self._function

    @property
    def function_directory(self) -> str:
        return str(self._directory)

    @property
    def trace_context(self) -> TraceContext:
        return LocalTrace(self._trace_parent)

    @property
    def retry_context(self) -> RetryContext:
        return NoRetry()
