"""Carries one work item of the task hub through the app's function for it.

The functions are called as the Functions worker calls them: orchestrators and entities take and
return base64 of the durable task messages, activities take and return JSON.
"""

from __future__ import annotations

import base64
import logging
import traceback
from collections.abc import Iterable
from itertools import chain

import azure.functions as func
from azure.functions.meta import Datum
from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb

from devhost.functions_host.app_loader import AppFunction
from devhost.functions_host.invoker import Invoker

logger = logging.getLogger("sluice.functions_host")

ORCHESTRATION_TRIGGER = "orchestrationTrigger"
ACTIVITY_TRIGGER = "activityTrigger"
ENTITY_TRIGGER = "entityTrigger"

_NAME_PROPERTY = {
    ORCHESTRATION_TRIGGER: "orchestration",
    ACTIVITY_TRIGGER: "activity",
    ENTITY_TRIGGER: "entityName",
}


class UnknownFunctionError(LookupError):
    """A work item names a function that the app does not have."""


class DurableCalls:
    """The app's durable functions by kind and name; names match in any case, as in Azure."""

    def __init__(self, functions: Iterable[AppFunction], invoker: Invoker) -> None:
        self._invoker = invoker
        self._functions = {
            (function.trigger.type, durable_name(function).casefold()): function
            for function in functions
            if function.trigger.type in _NAME_PROPERTY
        }

    async def orchestrate(self, request: pb.OrchestratorRequest) -> pb.OrchestratorResponse:
        """One turn of an orchestration. What goes wrong in it fails the orchestration."""
        try:
            name = _orchestrator_name(request)
            answer = await self._call(ORCHESTRATION_TRIGGER, name, _encode(request))
            response = pb.OrchestratorResponse.FromString(base64.b64decode(answer))
        except Exception as error:
            logger.exception("Orchestration %s failed", request.instanceId)
            return _failed_orchestration(request.instanceId, error)
        _log_failure(response)
        return response

    async def act(self, request: pb.ActivityRequest) -> pb.ActivityResponse:
        """One activity. What it raises goes back to its orchestration as failure details."""
        response = pb.ActivityResponse(
            instanceId=request.orchestrationInstance.instanceId, taskId=request.taskId
        )
        value = request.input.value if request.HasField("input") else "null"
        try:
            response.result.value = await self._call(ACTIVITY_TRIGGER, request.name, value)
        except Exception as error:
            logger.exception(
                "Activity %s of %s raised", request.name, request.orchestrationInstance.instanceId
            )
            response.failureDetails.CopyFrom(failure_details(error))
        return response

    async def operate(self, request: pb.EntityBatchRequest) -> pb.EntityBatchResult:
        """A batch of operations on one entity. What is raised outside them fails the batch."""
        try:
            name = request.instanceId.split("@")[1]
            answer = await self._call(ENTITY_TRIGGER, name, _encode(request))
            return pb.EntityBatchResult.FromString(base64.b64decode(answer))
        except Exception as error:
            logger.exception("Entity %s failed", request.instanceId)
            return _failed_batch(request, error)

    async def _call(self, kind: str, name: str, value: str) -> str:
        function = self._functions.get((kind, name.casefold()))
        if function is None:
            raise UnknownFunctionError(f"the app has no {kind} function {name!r}")
        converter = func.get_binding_registry().get(kind)  # type: ignore[no-untyped-call]
        result = await self._invoker.call(
            function, converter.decode(Datum(value, "json"), trigger_metadata={})
        )
        return str(converter.encode(result, expected_type=None).value)


def durable_name(function: AppFunction) -> str:
    """What the task hub calls a durable function."""
    return function.trigger.text(_NAME_PROPERTY[function.trigger.type]) or function.name


def durable_names(functions: Iterable[AppFunction], trigger: str) -> list[str]:
    """The durable names of those functions that have this kind of trigger."""
    return [durable_name(function) for function in functions if function.trigger.type == trigger]


def failure_details(error: Exception) -> pb.TaskFailureDetails:
    """As the Durable extension makes them of what a Python worker reports.

    The type is the bare class name, as there. The message is never empty: an empty one reads as
    success to some hubs.
    """
    kind = type(error).__name__
    return pb.TaskFailureDetails(
        errorType=kind,
        errorMessage=str(error) or kind,
        stackTrace=helpers.get_string_value("".join(traceback.format_tb(error.__traceback__))),
    )


def _encode(request: pb.OrchestratorRequest | pb.EntityBatchRequest) -> str:
    return base64.b64encode(request.SerializeToString()).decode("ascii")


def _orchestrator_name(request: pb.OrchestratorRequest) -> str:
    for event in chain(request.pastEvents, request.newEvents):
        if event.HasField("executionStarted"):
            return str(event.executionStarted.name)
    raise ValueError("the history has no start")


def _failed_orchestration(instance_id: str, error: Exception) -> pb.OrchestratorResponse:
    ended = helpers.new_complete_orchestration_action(
        -1, pb.ORCHESTRATION_STATUS_FAILED, None, failure_details(error)
    )
    return pb.OrchestratorResponse(instanceId=instance_id, actions=[ended])


def _failed_batch(request: pb.EntityBatchRequest, error: Exception) -> pb.EntityBatchResult:
    """No operation took place: each is answered with the failure, the state stays as it was."""
    failure = pb.OperationResultFailure(failureDetails=failure_details(error))
    return pb.EntityBatchResult(
        results=[pb.OperationResult(failure=failure) for _ in request.operations],
        entityState=request.entityState if request.HasField("entityState") else None,
    )


def _log_failure(response: pb.OrchestratorResponse) -> None:
    for action in response.actions:
        ended = action.completeOrchestration
        if ended.orchestrationStatus == pb.ORCHESTRATION_STATUS_FAILED:
            details = ended.failureDetails
            logger.error(
                "Orchestration %s failed: %s: %s",
                response.instanceId,
                details.errorType,
                details.errorMessage,
            )
