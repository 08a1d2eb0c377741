"""The vendor's in-memory hub from `durabletask.testing`, made fit to serve a whole app.

What is changed, each because the vendor's class does otherwise: it binds loopback only; its
thread pool is large enough for streams and waits; messages may be larger than 4 MB; work that a
worker hands back or takes down with it is delivered again; a sub-orchestration may last longer
than 30 seconds.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from durabletask.testing.in_memory_backend import ActivityWorkItem, InMemoryOrchestrationBackend

from devhost.task_hub.hub import HubSettings
from devhost.task_hub.leases import Lease, Leases

logger = logging.getLogger("sluice.task_hub")

UNLIMITED = -1


class InMemoryHub(InMemoryOrchestrationBackend):
    """`Hub` whose state ends with the process."""

    def __init__(self, settings: HubSettings) -> None:
        super().__init__(port=settings.port)
        self._settings = settings
        self._leases = Leases()

    def start(self) -> str:
        self._shutdown_event.clear()
        server = grpc.server(
            ThreadPoolExecutor(self._settings.threads, thread_name_prefix="task-hub"),
            options=[
                ("grpc.max_receive_message_length", UNLIMITED),
                ("grpc.max_send_message_length", UNLIMITED),
                ("grpc.so_reuseport", 0),
            ],
        )
        stubs.add_TaskHubSidecarServiceServicer_to_server(self, server)  # type: ignore[no-untyped-call]
        try:
            self._port = server.add_insecure_port(f"127.0.0.1:{self._settings.port}")
        except RuntimeError as error:
            raise OSError(f"port {self._settings.port} is taken") from error
        server.start()
        self._server = server
        return f"127.0.0.1:{self._port}"

    def reset(self) -> None:
        self._leases.forget()
        super().reset()  # type: ignore[no-untyped-call]

    # Work items, each under a lease

    def GetWorkItems(  # noqa: N802 - the service's own name
        self, request: pb.GetWorkItemsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WorkItem]:
        try:
            for item in super().GetWorkItems(request, context):
                self._leases.grant(context, item)
                yield item
        finally:
            self._redeliver_later(self._leases.held_on(context))

    def _redeliver_later(self, held: list[str]) -> None:
        if not held or self._shutdown_event.is_set():
            return
        logger.info("A worker left with %d work items in hand", len(held))
        timer = threading.Timer(self._settings.redelivery_seconds, self._redeliver, [held])
        timer.daemon = True
        timer.start()

    def _redeliver(self, tickets: list[str]) -> None:
        for ticket in tickets:
            lease = self._leases.take(ticket)
            if lease is not None and not self._shutdown_event.is_set():
                self._put_back(lease)

    def _put_back(self, lease: Lease) -> None:
        item = lease.item
        if item.HasField("activityRequest"):
            self._put_back_activity(item.activityRequest, lease.token)
        elif item.HasField("orchestratorRequest"):
            super().AbandonTaskOrchestratorWorkItem(
                pb.AbandonOrchestrationTaskRequest(completionToken=lease.token), None
            )
        else:
            super().AbandonTaskEntityWorkItem(
                pb.AbandonEntityTaskRequest(completionToken=lease.token), None
            )

    def _put_back_activity(self, request: pb.ActivityRequest, token: str) -> None:
        with self._lock:
            self._activity_queue.append(
                ActivityWorkItem(
                    instance_id=request.orchestrationInstance.instanceId,
                    name=request.name,
                    task_id=request.taskId,
                    input=request.input.value if request.HasField("input") else None,
                    completion_token=int(token),
                )
            )
            self._work_available.set()

    # Answers: the worker's ticket is exchanged for the token that the vendor's code expects

    def CompleteOrchestratorTask(  # noqa: N802
        self, request: pb.OrchestratorResponse, context: grpc.ServicerContext
    ) -> pb.CompleteTaskResponse:
        if self._redeem(request):
            return super().CompleteOrchestratorTask(request, context)
        return pb.CompleteTaskResponse()

    def CompleteActivityTask(  # noqa: N802
        self, request: pb.ActivityResponse, context: grpc.ServicerContext
    ) -> pb.CompleteTaskResponse:
        if self._redeem(request):
            return super().CompleteActivityTask(request, context)
        return pb.CompleteTaskResponse()

    def CompleteEntityTask(  # noqa: N802
        self, request: pb.EntityBatchResult, context: grpc.ServicerContext
    ) -> pb.CompleteTaskResponse:
        if self._redeem(request):
            return super().CompleteEntityTask(request, context)
        return pb.CompleteTaskResponse()

    def _redeem(
        self, answer: pb.OrchestratorResponse | pb.ActivityResponse | pb.EntityBatchResult
    ) -> bool:
        lease = self._leases.take(answer.completionToken)
        if lease is None:
            logger.info("An answer came for work that was given to another worker: ignored")
            return False
        answer.completionToken = lease.token
        return True

    def AbandonTaskActivityWorkItem(  # noqa: N802
        self, request: pb.AbandonActivityTaskRequest, context: grpc.ServicerContext
    ) -> pb.AbandonActivityTaskResponse:
        self._redeliver([request.completionToken])
        return pb.AbandonActivityTaskResponse()

    def AbandonTaskOrchestratorWorkItem(  # noqa: N802
        self, request: pb.AbandonOrchestrationTaskRequest, context: grpc.ServicerContext
    ) -> pb.AbandonOrchestrationTaskResponse:
        self._redeliver([request.completionToken])
        return pb.AbandonOrchestrationTaskResponse()

    def AbandonTaskEntityWorkItem(  # noqa: N802
        self, request: pb.AbandonEntityTaskRequest, context: grpc.ServicerContext
    ) -> pb.AbandonEntityTaskResponse:
        self._redeliver([request.completionToken])
        return pb.AbandonEntityTaskResponse()

    def _watch_sub_orchestration(
        self, parent_instance_id: str, sub_instance_id: str, task_id: int
    ) -> None:
        # The vendor's watcher waits once, 30 s at most, and then the parent is never told. This
        # one waits in rounds until the child has ended and leaves the telling to the vendor's.
        def watch() -> None:
            while not self._shutdown_event.is_set():
                ended = self._wait_for_state(
                    sub_instance_id, self._is_terminal_status_check, timeout=None
                )
                if ended is not None:
                    tell(parent_instance_id, sub_instance_id, task_id)
                    return

        tell = super()._watch_sub_orchestration
        threading.Thread(target=watch, daemon=True).start()
