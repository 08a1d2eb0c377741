"""The TaskHubSidecarService: which call is answered by what."""

from __future__ import annotations

import time
from typing import Any

import grpc
from google.protobuf import empty_pb2, wrappers_pb2

from devhost.task_hub.durable.calls import Calls, Context, Unary
from devhost.task_hub.durable.committer import Committer
from devhost.task_hub.durable.errors import CannotWrite
from devhost.task_hub.durable.hub import Hub
from devhost.task_hub.durable.model import Status
from devhost.task_hub.durable.proto import SERVICE, pb
from devhost.task_hub.durable.streams import Streams


class Service:
    """The hub as a gRPC service."""

    def __init__(self, hub: Hub, committer: Committer) -> None:
        self._hub = hub
        self._committer = committer
        self._calls = Calls(hub.dispatcher, committer)
        self._streams = Streams(hub, committer)

    def close(self) -> None:
        """End every call that lasts."""
        self._streams.close()

    def ping(self) -> None:
        """Show every worker without work that the hub is there."""
        self._hub.dispatcher.ping()

    def handler(self) -> grpc.GenericRpcHandler:
        """What a gRPC server needs. Calls that are not listed here answer UNIMPLEMENTED."""
        unary = {**self._client_calls(), **self._worker_calls()}
        streams = {
            "GetWorkItems": self._streams.work_items,
            "StreamInstanceHistory": self._streams.history,
        }
        methods: dict[str, grpc.RpcMethodHandler] = {}
        for method in pb.DESCRIPTOR.services_by_name[SERVICE].methods:
            parse = _message(method.input_type.name).FromString
            if method.name in unary:
                methods[method.name] = grpc.unary_unary_rpc_method_handler(
                    unary[method.name], parse, _message(method.output_type.name).SerializeToString
                )
            elif method.name in streams:
                # Streams send what is serialized already.
                methods[method.name] = grpc.unary_stream_rpc_method_handler(
                    streams[method.name], parse, bytes
                )
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def _client_calls(self) -> dict[str, Unary]:
        hub, calls, streams = self._hub, self._calls, self._streams
        return {
            "Hello": calls.read(lambda _: empty_pb2.Empty()),
            "CreateTaskHub": calls.read(lambda _: pb.CreateTaskHubResponse()),
            "DeleteTaskHub": calls.read(lambda _: pb.DeleteTaskHubResponse()),
            "GetInstance": calls.read(
                lambda request: hub.views.instance(request.instanceId, request.getInputsAndOutputs)
            ),
            "QueryInstances": calls.read(hub.views.query),
            "ListInstanceIds": calls.read(hub.views.list_ids),
            "GetEntity": calls.read(hub.views.entity),
            "QueryEntities": calls.read(hub.views.query_entities),
            "WaitForInstanceStart": streams.wait_until(lambda s: s is not Status.PENDING),
            "WaitForInstanceCompletion": streams.wait_until(lambda s: s.ended),
            "StartInstance": calls.change(hub.control.start),
            "RaiseEvent": calls.change(hub.control.raise_event),
            "TerminateInstance": calls.change(hub.control.terminate),
            "SuspendInstance": calls.change(hub.control.suspend),
            "ResumeInstance": calls.change(hub.control.resume),
            "RestartInstance": calls.change(hub.control.restart, settled_first=True),
            "RewindInstance": calls.change(hub.control.rewind, settled_first=True),
            "SignalEntity": calls.change(hub.signal_entity),
            "CleanEntityStorage": calls.change(hub.clean_entities, settled_first=True),
            "PurgeInstances": self._purge,
        }

    def _worker_calls(self) -> dict[str, Unary]:
        hub, calls = self._hub, self._calls
        done = pb.CompleteTaskResponse()

        def abandon(request: pb.AbandonActivityTaskRequest) -> None:
            if not hub.dispatcher.abandon(request.completionToken):
                hub.activities.forgive(request.completionToken)

        return {
            "CompleteActivityTask": calls.report(hub.activities.complete, done),
            "CompleteOrchestratorTask": calls.report(hub.turns.complete, done),
            "CompleteEntityTask": calls.report(hub.operations.complete, done),
            "AbandonTaskActivityWorkItem": calls.report(abandon, pb.AbandonActivityTaskResponse()),
            "AbandonTaskOrchestratorWorkItem": calls.report(
                abandon, pb.AbandonOrchestrationTaskResponse()
            ),
            "AbandonTaskEntityWorkItem": calls.report(abandon, pb.AbandonEntityTaskResponse()),
        }

    async def _purge(self, request: pb.PurgeInstancesRequest, context: Context) -> Any:
        """In steps, each committed, so that a large purge holds nothing up."""
        by_filter = request.HasField("purgeInstanceFilter")
        wanted = request.purgeInstanceFilter
        until = time.monotonic() + _seconds(wanted.timeout) if wanted.HasField("timeout") else None
        count, more = 0, True
        try:
            while more and (until is None or time.monotonic() < until):
                self._calls.check_writable()
                await self._committer.settled()
                step = self._purge_step(request)
                count += step
                more = by_filter and step > 0
        except CannotWrite as error:
            await context.abort(error.code, str(error))
        await self._committer.settled()
        return pb.PurgeInstancesResponse(
            deletedInstanceCount=count, isComplete=wrappers_pb2.BoolValue(value=not more)
        )

    def _purge_step(self, request: pb.PurgeInstancesRequest) -> int:
        purge = self._hub.purge
        if request.HasField("purgeInstanceFilter"):
            return purge.by_filter(request.purgeInstanceFilter, request.recursive)
        ids = request.instanceBatch.instanceIds or [request.instanceId]
        return purge.by_ids(ids, request.recursive)


def _seconds(duration: Any) -> float:
    seconds: float = duration.seconds + duration.nanos / 1e9
    return seconds


def _message(name: str) -> Any:
    return empty_pb2.Empty if name == "Empty" else getattr(pb, name)
