"""Takes work items from the task hub and carries them through the app's durable functions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import grpc
from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb

from devhost.functions_host.durable_calls import DurableCalls
from devhost.functions_host.host_json import DurableConfig
from devhost.functions_host.hub_link import HubLink
from devhost.functions_host.work_lane import Lane, LaneCalls

logger = logging.getLogger("sluice.functions_host")

_RECONNECT_SECONDS = 0.2


class DurablePump:
    """One stream of work items from the hub, opened again whenever it ends."""

    def __init__(self, calls: DurableCalls, link: HubLink, config: DurableConfig) -> None:
        self._calls = calls
        self._link = link
        self._config = config
        self._orchestrations = self._orchestration_lane()
        self._activities = self._activity_lane()
        self._entities = self._entity_lane()
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._reader = asyncio.create_task(self._read(), name="work items")

    async def stop(self, grace: float) -> None:
        """Take nothing more; finish or hand back what is in hand within `grace` seconds."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        lanes = (self._orchestrations, self._activities, self._entities)
        held = sum(lane.in_hand for lane in lanes)
        if held:
            logger.info("Finishing %d work items, %g s at most", held, grace)
        await asyncio.gather(*(lane.drain(grace) for lane in lanes))

    async def _read(self) -> None:
        while True:
            await self._link.wait_until_there()
            logger.info("Taking work from the task hub at %s", self._link.address)
            try:
                async for item in self._link.stub.GetWorkItems(self._request()):
                    self._submit(item)
                reason = "closed"
            except grpc.aio.AioRpcError as error:
                reason = error.code().name
            logger.warning("The stream of work from the task hub ended (%s): reconnecting", reason)
            await asyncio.sleep(_RECONNECT_SECONDS)

    def _request(self) -> pb.GetWorkItemsRequest:
        """The limits are for the hub too: it need not send more than can run."""
        return pb.GetWorkItemsRequest(
            maxConcurrentOrchestrationWorkItems=self._config.max_orchestrators,
            maxConcurrentActivityWorkItems=self._config.max_activities,
            maxConcurrentEntityWorkItems=self._config.max_entities,
        )

    def _submit(self, item: pb.WorkItem) -> None:
        token = item.completionToken
        match item.WhichOneof("request"):
            case "orchestratorRequest":
                self._orchestrations.submit(token, item.orchestratorRequest)
            case "activityRequest":
                self._activities.submit(token, item.activityRequest)
            case "entityRequest":
                self._entities.submit(token, item.entityRequest)
            case "entityRequestV2":
                self._entities.submit(token, item.entityRequestV2)
            case "healthPing":
                pass
            case kind:
                logger.error("The hub sent a work item of a kind not known here: %s", kind)

    def _orchestration_lane(self) -> Lane[pb.OrchestratorRequest, pb.OrchestratorResponse]:
        stub = self._link.stub
        return Lane(
            "orchestrations",
            self._config.max_orchestrators,
            LaneCalls(
                self._calls.orchestrate,
                stub.CompleteOrchestratorTask,
                _with_token(
                    stub.AbandonTaskOrchestratorWorkItem, pb.AbandonOrchestrationTaskRequest
                ),
            ),
        )

    def _activity_lane(self) -> Lane[pb.ActivityRequest, pb.ActivityResponse]:
        stub = self._link.stub
        return Lane(
            "activities",
            self._config.max_activities,
            LaneCalls(
                self._calls.act,
                stub.CompleteActivityTask,
                _with_token(stub.AbandonTaskActivityWorkItem, pb.AbandonActivityTaskRequest),
            ),
        )

    def _entity_lane(
        self,
    ) -> Lane[pb.EntityBatchRequest | pb.EntityRequest, pb.EntityBatchResult]:
        stub = self._link.stub
        return Lane(
            "entities",
            self._config.max_entities,
            LaneCalls(
                self._operate,
                stub.CompleteEntityTask,
                _with_token(stub.AbandonTaskEntityWorkItem, pb.AbandonEntityTaskRequest),
            ),
        )

    async def _operate(
        self, request: pb.EntityBatchRequest | pb.EntityRequest
    ) -> pb.EntityBatchResult:
        """Functions take the older form of a batch; the newer says who waits for the results."""
        if isinstance(request, pb.EntityBatchRequest):
            return await self._calls.operate(request)
        batch, destinations = helpers.convert_to_entity_batch_request(request)
        result = await self._calls.operate(batch)
        result.operationInfos.extend(destinations)
        return result


def _with_token[Message](
    call: Callable[[Message], grpc.aio.Call], message: Callable[..., Message]
) -> Callable[[str], grpc.aio.Call]:
    return lambda token: call(message(completionToken=token))
