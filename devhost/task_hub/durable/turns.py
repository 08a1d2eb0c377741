"""Turns of orchestrations: given out with the whole history, applied in one transaction."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial

from devhost.task_hub.durable import events
from devhost.task_hub.durable.actions import Actions
from devhost.task_hub.durable.core import Core
from devhost.task_hub.durable.endings import Endings, Outcome
from devhost.task_hub.durable.errors import InvalidRequest
from devhost.task_hub.durable.histories import Histories
from devhost.task_hub.durable.instances import Instances, new_execution
from devhost.task_hub.durable.model import COMMITTING, ENDED, Instance, Message, Status
from devhost.task_hub.durable.notices import Notices
from devhost.task_hub.durable.proto import optional_text, past_events, pb, present, text, turn_item
from devhost.task_hub.durable.ready import Key, Kind
from devhost.task_hub.durable.rewinds import Rewinds
from devhost.task_hub.durable.timers import Timers
from devhost.task_hub.durable.workers import Lease, Worker

logger = logging.getLogger("sluice.task_hub")


@dataclass(kw_only=True)
class Turns:
    """Gives out turns and applies what comes back."""

    core: Core
    instances: Instances
    histories: Histories
    timers: Timers
    actions: Actions
    endings: Endings
    rewinds: Rewinds
    notices: Notices

    def begin(self, key: Key, token: str, worker: Worker) -> bytes | None:
        core = self.core
        instance = core.state.instances.get(int(key))
        if instance is None:
            return None
        instance.offered = False
        taken = self.instances.take(instance)
        if not taken:
            return None
        if taken[0].kind != "orchestratorStarted":
            started = events.orchestrator_started(core.clock.wall()).SerializeToString()
            # It has no row: should the turn be lost, the next one has its own.
            taken.insert(0, Message(0, "orchestratorStarted", started))
        instance.taken, instance.token = taken, token
        history = self.histories.of(instance)
        streamed = worker.streams_history and (
            sum(map(len, history)) > core.settings.stream_history_bytes
        )
        head = pb.OrchestratorRequest(
            instanceId=instance.id,
            executionId=text(instance.execution),
            requiresHistoryStreaming=streamed,
            orchestrationTraceContext=(
                pb.OrchestrationTraceContext.FromString(instance.trace) if instance.trace else None
            ),
        )
        return turn_item(
            token, head, [] if streamed else history, [message.event for message in taken]
        )

    def release(self, key: Key, token: str, lost: bool) -> None:
        instance = self.core.state.instances.get(int(key))
        if instance is None or instance.token != token:
            return
        instance.token = None
        if lost:
            instance.lost += 1
            self.core.rows.set_lost(Kind.TURN, instance.num, instance.lost)
        instance.inbox.extendleft(reversed([m for m in instance.taken if m.seq]))
        instance.taken = []
        instance.pressing = True
        limit = self.core.settings.max_deliveries
        if limit and instance.lost >= limit:
            self._fail_lost(instance)
        else:
            self.instances.wake(instance)

    def _fail_lost(self, instance: Instance) -> None:
        logger.warning(
            "Orchestration %s failed: %d workers were lost with its turn",
            instance.id,
            instance.lost,
        )
        details = events.failure(
            "TaskHub.WorkerLost",
            f"{instance.lost} workers were lost while they ran orchestration '{instance.name}'.",
        )
        self.endings.end_here(instance, Outcome(Status.FAILED, details=details))

    def complete(self, response: pb.OrchestratorResponse) -> None:
        """Apply a turn. A late answer, of an earlier delivery, is ignored.

        Raises InvalidRequest for one that means nothing, and then changed nothing.
        """
        core = self.core
        actions = _by_kind(response)
        lease = core.dispatcher.settle(response.completionToken, Kind.TURN)
        instance = None if lease is None else core.state.instances.get(int(lease.key))
        if lease is None or instance is None or instance.token != response.completionToken:
            logger.info("Ignored a late answer for turn %s", response.completionToken)
            return
        self._answered(instance, response, lease)
        rewind = actions.get("rewindOrchestration")
        if rewind is not None:
            self.rewinds.apply(instance, list(rewind.rewindOrchestration.newHistory))
            return
        taken = self._consume(instance)
        done = actions.get("completeOrchestration")
        history = [message.event for message in taken]
        for action in response.actions:
            if action is not done:
                event = self.actions.do(instance, action)
                if event is not None:
                    history.append(event.SerializeToString())
        completion = None if done is None else done.completeOrchestration
        self._close(instance, taken, history, completion, response)

    def _answered(
        self, instance: Instance, response: pb.OrchestratorResponse, lease: Lease
    ) -> None:
        instance.token = COMMITTING
        if instance.lost:
            instance.lost = 0
            self.core.rows.set_lost(Kind.TURN, instance.num, 0)
        now = self.core.clock.steady()
        instance.last_turn = now - lease.since
        if instance.first_result is not None:
            # What came meanwhile came slowly: the worker was busy with the turn.
            instance.first_result = instance.last_result = now
        if response.HasField("orchestrationTraceContext"):
            instance.trace = response.orchestrationTraceContext.SerializeToString()

    def _consume(self, instance: Instance) -> list[Message]:
        """The turn's events are history now, and no longer wait."""
        taken, instance.taken = instance.taken, []
        self.core.rows.delete_messages(message for message in taken if message.seq)
        if instance.status is Status.PENDING:
            instance.status = Status.RUNNING
        for message in taken:
            if message.kind == "executionSuspended":
                instance.status = Status.SUSPENDED
            elif message.kind == "executionResumed":
                instance.status = Status.RUNNING
        return taken

    def _close(
        self,
        instance: Instance,
        taken: list[Message],
        history: list[bytes],
        done: pb.CompleteOrchestrationAction | None,
        response: pb.OrchestratorResponse,
    ) -> None:
        core = self.core
        now = core.clock.wall()
        custom_status = optional_text(response, "customStatus")
        if done is not None and Status(done.orchestrationStatus) is Status.CONTINUED_AS_NEW:
            core.rows.update_instance(instance, now, custom_status)
            self._continue_as_new(instance, done)
            return
        history.append(events.orchestrator_completed(now).SerializeToString())
        core.rows.update_instance(instance, now, custom_status)
        if done is None:
            self.histories.append(instance, past_events(history))
            core.journal.after(partial(self._committed, instance))
            return
        outcome = Outcome(
            Status(done.orchestrationStatus),
            optional_text(done, "result"),
            present(done, "failureDetails"),
        )
        history.append(outcome.event(now).SerializeToString())
        self.histories.append(instance, past_events(history))
        if outcome.status is Status.TERMINATED and _recursive(taken):
            self.endings.terminate_children(instance, outcome.output)
        self.endings.end(instance, outcome)

    def _continue_as_new(self, instance: Instance, done: pb.CompleteOrchestrationAction) -> None:
        core = self.core
        new_input = optional_text(done, "result")
        instance.execution = new_execution()
        if done.HasField("newVersion"):
            instance.version = done.newVersion.value
        instance.scheduled = None
        instance.activities = 0
        instance.children.clear()
        self.timers.drop_all(instance)
        self.histories.clear(instance)
        core.rows.renew_instance(instance, new_input)
        now = core.clock.wall()
        arrived = self.instances.clear_inbox(instance)
        for event in (
            events.execution_started(now, instance, new_input),
            *done.carryoverEvents,
        ):
            self.instances.deliver(instance, event)
        for message in arrived:
            self.instances.put(instance, message.kind, message.event)
        core.journal.after(partial(self._committed, instance))

    def _committed(self, instance: Instance) -> None:
        instance.token = None
        self.notices.tell(instance.id, instance.status)
        self.instances.wake(instance)


def _by_kind(response: pb.OrchestratorResponse) -> dict[str, pb.OrchestratorAction]:
    """One action of each kind, all of which are known to mean something."""
    if response.isPartial:
        raise InvalidRequest("an answer in parts is not taken")
    actions = {}
    for action in response.actions:
        kind = action.WhichOneof("orchestratorActionType")
        if kind is None:
            raise InvalidRequest(f"action {action.id} is of no known kind")
        actions[kind] = action
        message = action.sendEntityMessage
        if kind == "sendEntityMessage" and message.WhichOneof("EntityMessageType") is None:
            raise InvalidRequest(f"entity message {action.id} is of no known kind")
    if "completeOrchestration" in actions:
        status = actions["completeOrchestration"].completeOrchestration.orchestrationStatus
        if int(status) not in {*ENDED, Status.CONTINUED_AS_NEW}:
            raise InvalidRequest(f"an orchestration cannot complete with status {status}")
    return actions


def _recursive(taken: list[Message]) -> bool:
    """Whether a termination among these events is to go on to the children."""
    return any(
        message.kind == "executionTerminated"
        and pb.HistoryEvent.FromString(message.event).executionTerminated.recurse
        for message in taken
    )
