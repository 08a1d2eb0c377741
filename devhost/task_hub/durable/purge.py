"""Deleting ended orchestrations: one, some, or all that a filter names, with their children."""

from __future__ import annotations

from collections.abc import Iterable

from devhost.task_hub.durable.core import Core
from devhost.task_hub.durable.instances import Instances
from devhost.task_hub.durable.proto import micros, pb
from devhost.task_hub.durable.queries import Filter

AT_ONCE = 200
"""Instances deleted in one step, so that other calls are not kept waiting."""


class Purge:
    """Finds and deletes ended instances. What still runs is never deleted."""

    def __init__(self, core: Core, instances: Instances) -> None:
        self._core = core
        self._instances = instances

    def by_ids(self, instance_ids: Iterable[str], recursive: bool) -> int:
        """Delete these. Returns how many instances are gone."""
        rows = (self._core.queries.instance(instance_id) for instance_id in instance_ids)
        return self._delete([row.num for row in rows if row and row.status.ended], recursive)

    def by_filter(self, wanted: pb.PurgeInstanceFilter, recursive: bool) -> int:
        """Delete up to AT_ONCE that match. Returns how many are gone; 0 once all are."""
        found = Filter().statuses(wanted.runtimeStatus).add("completed IS NOT NULL")
        if wanted.HasField("createdTimeFrom"):
            found.add("created >= ?", micros(wanted.createdTimeFrom))
        if wanted.HasField("createdTimeTo"):
            found.add("created < ?", micros(wanted.createdTimeTo))
        rows = self._core.queries.instances(found, "created, num", AT_ONCE)
        return self._delete([row.num for row in rows], recursive)

    def _delete(self, nums: list[int], recursive: bool) -> int:
        deleted: set[int] = set()
        waiting = list(nums)
        while waiting:
            num = waiting.pop()
            if num in deleted or num in self._core.state.instances:
                continue
            deleted.add(num)
            if recursive:
                waiting.extend(filter(self._core.queries.ended, self._core.queries.children(num)))
            self._instances.erase(num)
        return len(deleted)
