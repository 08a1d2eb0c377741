"""What the durable HTTP API says of an instance, and what it can be asked about instances.

The shapes are those of the Durable extension's HTTP API (its HTTP API reference).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus

from durabletask.client import OrchestrationQuery, OrchestrationState, OrchestrationStatus
from durabletask.history import HistoryEvent

from devhost.functions_host.json_config import Json

_NAMES = {
    OrchestrationStatus.RUNNING: "Running",
    OrchestrationStatus.COMPLETED: "Completed",
    OrchestrationStatus.FAILED: "Failed",
    OrchestrationStatus.TERMINATED: "Terminated",
    OrchestrationStatus.CONTINUED_AS_NEW: "ContinuedAsNew",
    OrchestrationStatus.PENDING: "Pending",
    OrchestrationStatus.SUSPENDED: "Suspended",
}
_STATUSES = {name.lower(): status for status, name in _NAMES.items()}

ENDED = frozenset(
    {OrchestrationStatus.COMPLETED, OrchestrationStatus.FAILED, OrchestrationStatus.TERMINATED}
)


class QueryError(ValueError):
    """A query parameter is not as expected. The message names it."""


def status_name(state: OrchestrationState) -> str:
    return _NAMES[state.runtime_status]


def status_code(state: OrchestrationState, failure_is_500: bool) -> HTTPStatus:
    """202 as long as the instance has not ended, then 200; 500 for a failure if so asked."""
    if state.runtime_status not in ENDED:
        return HTTPStatus.ACCEPTED
    if state.runtime_status is OrchestrationStatus.FAILED and failure_is_500:
        return HTTPStatus.INTERNAL_SERVER_ERROR
    return HTTPStatus.OK


def describe(
    state: OrchestrationState, *, show_input: bool, history: list[Json] | None = None
) -> dict[str, Json]:
    """The instance as `GET instances/{id}` shows it."""
    described: dict[str, Json] = {
        "name": state.name,
        "instanceId": state.instance_id,
        "runtimeStatus": status_name(state),
        "input": payload(state.serialized_input) if show_input else None,
        "customStatus": payload(state.serialized_custom_status),
        "output": output_of(state),
        "createdTime": _time(state.created_at),
        "lastUpdatedTime": _time(state.last_updated_at),
    }
    if history is not None:
        described["historyEvents"] = history
    return described


def describe_history(
    events: list[HistoryEvent], *, show_input: bool, show_output: bool
) -> list[Json]:
    from azure.durable_functions.internal.compat.history_projection import project_history

    return list(project_history(events, show_input=show_input, show_history_output=show_output))


def output_of(state: OrchestrationState) -> Json:
    """The output; of a failed instance without one, what it failed with."""
    if state.serialized_output is None and state.failure_details is not None:
        return state.failure_details.message
    return payload(state.serialized_output)


def payload(serialized: str | None) -> Json:
    """The payload's JSON, and text that is no JSON as it is."""
    if serialized is None:
        return None
    try:
        value: Json = json.loads(serialized)
    except ValueError:
        return serialized
    return value


def _time(value: datetime) -> str:
    return f"{value.replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def instance_query(parameters: Mapping[str, str], default_size: int) -> OrchestrationQuery:
    """The filter that a request's parameters describe. Raises QueryError."""
    return OrchestrationQuery(
        created_time_from=time_parameter(parameters, "createdTimeFrom"),
        created_time_to=time_parameter(parameters, "createdTimeTo"),
        runtime_status=status_parameter(parameters),
        instance_id_prefix=parameters.get("instanceIdPrefix") or None,
        max_instance_count=size_parameter(parameters, default_size),
        fetch_inputs_and_outputs=True,
    )


def status_parameter(parameters: Mapping[str, str]) -> list[OrchestrationStatus] | None:
    """`runtimeStatus`: names with commas between. Raises QueryError."""
    names = [name.strip() for name in parameters.get("runtimeStatus", "").split(",")]
    unknown = [name for name in names if name and name.lower() not in _STATUSES]
    if unknown:
        known = ", ".join(_NAMES.values())
        raise QueryError(f"runtimeStatus: expected some of {known}, got {unknown[0]!r}")
    return [_STATUSES[name.lower()] for name in names if name] or None


def time_parameter(parameters: Mapping[str, str], name: str) -> datetime | None:
    """An ISO 8601 time, in UTC unless it says otherwise. Raises QueryError."""
    text = parameters.get(name)
    if not text:
        return None
    try:
        value = datetime.fromisoformat(text)
    except ValueError as error:
        raise QueryError(f"{name}: expected an ISO 8601 time, got {text!r}") from error
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def size_parameter(parameters: Mapping[str, str], default: int) -> int:
    """`top`: how many a page has. Raises QueryError."""
    text = parameters.get("top", str(default))
    if not text.isdecimal() or not 0 < int(text) < 1 << 31:
        raise QueryError(f"top: expected a whole number above 0, got {text!r}")
    return int(text)


def flag_parameter(parameters: Mapping[str, str], name: str, default: bool) -> bool:
    """`true` or `false` in any case; the default for anything else, as the extension has it."""
    return {"true": True, "false": False}.get(parameters.get(name, "").lower(), default)
