"""Calls to make when an orchestration starts or ends."""

from __future__ import annotations

from collections.abc import Callable

from devhost.task_hub.durable.model import Status


class Notices:
    """Who waits for an instance; told once the change is durable."""

    def __init__(self) -> None:
        self._calls: dict[str, list[Callable[[Status], None]]] = {}

    def watch(self, instance_id: str, call: Callable[[Status], None]) -> Callable[[], None]:
        """Call `call` at each change of status. Returns what ends the watch."""
        self._calls.setdefault(instance_id, []).append(call)

        def end() -> None:
            calls = self._calls.get(instance_id, [])
            if call in calls:
                calls.remove(call)
            if not calls:
                self._calls.pop(instance_id, None)

        return end

    def tell(self, instance_id: str, status: Status) -> None:
        for call in list(self._calls.get(instance_id, ())):
            call(status)
