"""Activities: scheduled in one transaction with the turn that asked, run at least once."""

from __future__ import annotations

import logging
from functools import partial

from devhost.task_hub.durable import events
from devhost.task_hub.durable.core import Core
from devhost.task_hub.durable.dispatch import activity_of
from devhost.task_hub.durable.instances import Instances
from devhost.task_hub.durable.model import Activity, Instance
from devhost.task_hub.durable.proto import activity_item, optional_text, pb, present, text
from devhost.task_hub.durable.ready import Key, Kind, Offer
from devhost.task_hub.durable.workers import Worker

logger = logging.getLogger("sluice.task_hub")


class Activities:
    """Schedules activities, gives them out and takes their results."""

    def __init__(self, core: Core, instances: Instances) -> None:
        self._core = core
        self._instances = instances

    def schedule(self, instance: Instance, task: int, wanted: pb.ScheduleTaskAction) -> None:
        """Have an activity done, and answer the instance under this task id."""
        core = self._core
        request = pb.ActivityRequest(
            name=wanted.name,
            version=present(wanted, "version"),
            input=present(wanted, "input"),
            orchestrationInstance=pb.OrchestrationInstance(
                instanceId=instance.id, executionId=text(instance.execution)
            ),
            taskId=task,
            parentTraceContext=present(wanted, "parentTraceContext"),
            tags=wanted.tags,
        )
        activity = Activity(
            seq=core.journal.next_seq(),
            num=instance.num,
            execution=instance.execution,
            task=task,
            name=wanted.name,
            version=optional_text(wanted, "version"),
            request=request.SerializeToString(),
        )
        core.rows.insert_activity(activity)
        self.admit(activity)
        core.journal.after(partial(self._offer, activity))

    def admit(self, activity: Activity) -> None:
        """Take an activity that has its row into memory."""
        self._core.state.activities[activity.seq] = activity
        instance = self._core.state.instances.get(activity.num)
        if instance is not None and instance.execution == activity.execution:
            instance.activities += 1

    def offer_all(self) -> None:
        """After a restart: every activity that has not ended is to be done."""
        for activity in self._core.state.activities.values():
            self._offer(activity)

    def _offer(self, activity: Activity) -> None:
        if activity.seq in self._core.state.activities:
            self._core.dispatcher.offer(
                Offer(
                    Kind.ACTIVITY,
                    activity.seq,
                    activity.name,
                    activity.version,
                    activity.seq,
                    activity.lost,
                )
            )

    def begin(self, key: Key, token: str, worker: Worker) -> bytes | None:
        activity = self._core.state.activities.get(int(key))
        if activity is None:
            return None
        activity.token = token
        return activity_item(token, activity.request)

    def release(self, key: Key, token: str, lost: bool) -> None:
        activity = self._core.state.activities.get(int(key))
        if activity is None or activity.token != token:
            return
        activity.token = None
        if lost:
            activity.lost_token = token
            self._set_lost(activity, activity.lost + 1)
        limit = self._core.settings.max_deliveries
        if limit and activity.lost >= limit:
            self._fail_lost(activity)
        else:
            self._offer(activity)

    def forgive(self, token: str) -> None:
        """Its worker handed back what was taken for lost with it: it was stopped, not killed."""
        seq = activity_of(token)
        activity = None if seq is None else self._core.state.activities.get(seq)
        if activity is not None and activity.lost_token == token:
            activity.lost_token = None
            self._set_lost(activity, activity.lost - 1)

    def _set_lost(self, activity: Activity, lost: int) -> None:
        activity.lost = lost
        self._core.rows.set_lost(Kind.ACTIVITY, activity.seq, lost)

    def _fail_lost(self, activity: Activity) -> None:
        logger.warning(
            "Activity %s (%s) failed: %d workers were lost with it",
            activity.seq,
            activity.name,
            activity.lost,
        )
        details = events.failure(
            "TaskHub.WorkerLost",
            f"{activity.lost} workers were lost while they ran activity '{activity.name}'.",
        )
        self._end(activity, events.task_failed(self._core.clock.wall(), activity.task, details))

    def complete(self, response: pb.ActivityResponse) -> None:
        """Take a result. The first one counts, whichever delivery it is from.

        A result of an earlier delivery is as good as one of the last: the activity ran. Its
        failure is not: the worker may have failed because it was stopped.
        """
        token: str = response.completionToken
        self._core.dispatcher.settle(token, Kind.ACTIVITY)
        seq = activity_of(token)
        activity = None if seq is None else self._core.state.activities.get(seq)
        failed = response.HasField("failureDetails")
        if activity is None or (failed and activity.token != token):
            logger.info("Ignored a late answer for activity %s", token)
            return
        now = self._core.clock.wall()
        if failed:
            event = events.task_failed(now, activity.task, response.failureDetails)
        else:
            result = optional_text(response, "result")
            event = events.task_completed(now, activity.task, result)
        self._end(activity, event)

    def _end(self, activity: Activity, event: pb.HistoryEvent) -> None:
        core = self._core
        del core.state.activities[activity.seq]
        core.rows.delete_activity(activity.seq)
        instance = core.state.instances.get(activity.num)
        if instance is not None and instance.execution == activity.execution:
            instance.activities -= 1
        self._instances.answer(activity.num, activity.execution, event)
