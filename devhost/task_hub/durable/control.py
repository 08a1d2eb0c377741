"""What clients ask of orchestrations: start, raise events, end, suspend, resume, again."""

from __future__ import annotations

import uuid

from devhost.task_hub.durable import events
from devhost.task_hub.durable.core import Core
from devhost.task_hub.durable.endings import Endings, Outcome
from devhost.task_hub.durable.errors import InstanceExists, InstanceNotFound, WrongState
from devhost.task_hub.durable.instances import Instances, NewInstance
from devhost.task_hub.durable.model import Instance, Status
from devhost.task_hub.durable.proto import micros, optional_text, pb, present
from devhost.task_hub.durable.queries import InstanceRow
from devhost.task_hub.durable.rewinds import Rewinds
from devhost.task_hub.durable.timers import Timers


class Control:
    """The calls of clients that change orchestrations. Each refuses before it changes anything."""

    def __init__(
        self,
        core: Core,
        instances: Instances,
        timers: Timers,
        endings: Endings,
        rewinds: Rewinds,
    ) -> None:
        self._core = core
        self._instances = instances
        self._timers = timers
        self._endings = endings
        self._rewinds = rewinds

    def start(self, request: pb.CreateInstanceRequest) -> pb.CreateInstanceResponse:
        """Start an instance. Raises InstanceExists unless the policy lets it be replaced."""
        instance_id = request.instanceId or uuid.uuid4().hex
        self._make_free(instance_id, set(request.orchestrationIdReusePolicy.replaceableStatus))
        scheduled = request.HasField("scheduledStartTimestamp")
        self._create(
            NewInstance(
                id=instance_id,
                name=request.name,
                version=optional_text(request, "version"),
                input=optional_text(request, "input"),
                scheduled=micros(request.scheduledStartTimestamp) if scheduled else None,
                tags=dict(request.tags),
                trace=present(request, "parentTraceContext"),
            )
        )
        return pb.CreateInstanceResponse(instanceId=instance_id)

    def start_from_entity(self, wanted: pb.StartNewOrchestrationAction) -> None:
        """An entity starts an orchestration; one that runs already under the id is left alone."""
        instance_id = wanted.instanceId or uuid.uuid4().hex
        status = self._instances.status(instance_id)
        if status is not None and not status.ended:
            return
        if status is not None:
            self._instances.forget(instance_id)
        scheduled = wanted.HasField("scheduledTime")
        self._create(
            NewInstance(
                id=instance_id,
                name=wanted.name,
                version=optional_text(wanted, "version"),
                input=optional_text(wanted, "input"),
                scheduled=micros(wanted.scheduledTime) if scheduled else None,
            )
        )

    def _create(self, new: NewInstance) -> None:
        self._timers.schedule_start(self._instances.create(new))

    def _make_free(self, instance_id: str, replaceable: set[int]) -> None:
        status = self._instances.status(instance_id)
        if status is None:
            return
        if status not in replaceable:
            raise InstanceExists(instance_id)
        running = self._core.state.find(instance_id)
        if running is not None and not running.status.ended:
            self._endings.end_here(running, Outcome(Status.TERMINATED))
        self._instances.forget(instance_id)

    def raise_event(self, request: pb.RaiseEventRequest) -> pb.RaiseEventResponse:
        """An ended instance takes no notice."""
        instance = self._running(request.instanceId)
        if instance is not None:
            data = optional_text(request, "input")
            now = self._core.clock.wall()
            self._instances.deliver(instance, events.event_raised(now, request.name, data))
        return pb.RaiseEventResponse()

    def terminate(self, request: pb.TerminateRequest) -> pb.TerminateResponse:
        """As with the vendor's hub, an unknown instance is no error."""
        instance = self._core.state.find(request.instanceId)
        if instance is not None:
            output = optional_text(request, "output")
            self._endings.terminate(instance, output, request.recursive)
        return pb.TerminateResponse()

    def suspend(self, request: pb.SuspendRequest) -> pb.SuspendResponse:
        instance = self._running(request.instanceId)
        if instance is not None and instance.status is not Status.SUSPENDED:
            reason = optional_text(request, "reason")
            self._instances.deliver(instance, events.suspended(self._core.clock.wall(), reason))
        return pb.SuspendResponse()

    def resume(self, request: pb.ResumeRequest) -> pb.ResumeResponse:
        instance = self._running(request.instanceId)
        if instance is not None:
            reason = optional_text(request, "reason")
            self._instances.deliver(instance, events.resumed(self._core.clock.wall(), reason))
        return pb.ResumeResponse()

    def _running(self, instance_id: str) -> Instance | None:
        """The instance, None when it has ended. Raises InstanceNotFound."""
        instance = self._core.state.find(instance_id)
        if instance is not None:
            return None if instance.status.ended else instance
        if self._core.queries.instance(instance_id) is None:
            raise InstanceNotFound(instance_id)
        return None

    def restart(self, request: pb.RestartInstanceRequest) -> pb.RestartInstanceResponse:
        """Run an ended instance again with its old input, under its own id or a new one."""
        row = self._ended(request.instanceId, "is not in a terminal state")
        fresh = uuid.uuid4().hex if request.restartWithNewInstanceId else row.id
        if fresh == row.id:
            self._instances.forget(row.id)
        self._create(
            NewInstance(
                id=fresh, name=row.name, version=row.version, input=row.input, tags=row.tags
            )
        )
        return pb.RestartInstanceResponse(instanceId=fresh)

    def rewind(self, request: pb.RewindInstanceRequest) -> pb.RewindInstanceResponse:
        """Let a failed instance go on from before its failure."""
        row = self._ended(request.instanceId, "is not in a failed state")
        if row.status is not Status.FAILED:
            raise WrongState(f"Orchestration instance '{row.id}' is not in a failed state")
        self._rewinds.reopen(row, optional_text(request, "reason"))
        return pb.RewindInstanceResponse()

    def _ended(self, instance_id: str, complaint: str) -> InstanceRow:
        """The row of an ended instance. Raises InstanceNotFound, or WrongState when it runs."""
        if self._core.state.find(instance_id) is not None:
            raise WrongState(f"Orchestration instance '{instance_id}' {complaint}")
        row = self._core.queries.instance(instance_id, payloads=True)
        if row is None:
            raise InstanceNotFound(instance_id)
        return row
