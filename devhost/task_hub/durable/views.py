"""What clients read: instances and entities as the protocol shows them, page by page."""

from __future__ import annotations

from devhost.task_hub.durable.errors import InvalidRequest
from devhost.task_hub.durable.proto import (
    micros,
    optional_timestamp,
    pb,
    text,
    timestamp,
    wire_status,
)
from devhost.task_hub.durable.queries import (
    MAX_PAGE,
    PAGE,
    EntityRow,
    Filter,
    InstanceRow,
    Queries,
)


class Views:
    """Answers from the database. The caller waits until it holds what was done before."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    def instance(self, instance_id: str, payloads: bool) -> pb.GetInstanceResponse:
        row = self._queries.instance(instance_id, payloads)
        if row is None:
            return pb.GetInstanceResponse(exists=False)
        return pb.GetInstanceResponse(exists=True, orchestrationState=_state(row))

    def query(self, request: pb.QueryInstancesRequest) -> pb.QueryInstancesResponse:
        """Instances in the order of their creation."""
        query = request.query
        wanted = Filter().statuses(query.runtimeStatus)
        if query.HasField("createdTimeFrom"):
            wanted.add("created >= ?", micros(query.createdTimeFrom))
        if query.HasField("createdTimeTo"):
            wanted.add("created < ?", micros(query.createdTimeTo))
        if query.instanceIdPrefix.value:
            wanted.prefix("id", query.instanceIdPrefix.value)
        if query.continuationToken.value:
            created, num = _pair(query.continuationToken.value)
            wanted.add("(created, num) > (?, ?)", _integer(created), _integer(num))
        size = _page_size(query.maxInstanceCount, MAX_PAGE)
        rows = self._queries.instances(
            wanted, "created, num", size + 1, query.fetchInputsAndOutputs
        )
        page = rows[:size]
        more = f"{page[-1].created}|{page[-1].num}" if len(rows) > size else None
        return pb.QueryInstancesResponse(
            orchestrationState=map(_state, page), continuationToken=text(more)
        )

    def list_ids(self, request: pb.ListInstanceIdsRequest) -> pb.ListInstanceIdsResponse:
        """Ids of ended instances in the order of their ends."""
        wanted = Filter().add("completed IS NOT NULL").statuses(request.runtimeStatus)
        if request.HasField("completedTimeFrom"):
            wanted.add("completed >= ?", micros(request.completedTimeFrom))
        if request.HasField("completedTimeTo"):
            wanted.add("completed < ?", micros(request.completedTimeTo))
        if request.lastInstanceKey.value:
            completed, last = _pair(request.lastInstanceKey.value)
            wanted.add("(completed, id) > (?, ?)", _integer(completed), last)
        size = _page_size(request.pageSize, PAGE)
        rows = self._queries.instances(wanted, "completed, id", size + 1)
        page = rows[:size]
        more = f"{page[-1].completed}|{page[-1].id}" if len(rows) > size else None
        return pb.ListInstanceIdsResponse(
            instanceIds=[row.id for row in page], lastInstanceKey=text(more)
        )

    def entity(self, request: pb.GetEntityRequest) -> pb.GetEntityResponse:
        rows = self._queries.entities(Filter().add("e.id = ?", request.instanceId), 1)
        if not rows:
            return pb.GetEntityResponse(exists=False)
        return pb.GetEntityResponse(exists=True, entity=_entity(rows[0], request.includeState))

    def query_entities(self, request: pb.QueryEntitiesRequest) -> pb.QueryEntitiesResponse:
        """Entities in the order of their ids; those without state only when asked for."""
        query = request.query
        wanted = Filter()
        if query.instanceIdStartsWith.value:
            wanted.prefix("e.id", query.instanceIdStartsWith.value)
        if query.HasField("lastModifiedFrom"):
            wanted.add("e.modified >= ?", micros(query.lastModifiedFrom))
        if query.HasField("lastModifiedTo"):
            wanted.add("e.modified < ?", micros(query.lastModifiedTo))
        if not query.includeTransient:
            wanted.add("e.state IS NOT NULL")
        if query.continuationToken.value:
            wanted.add("e.id > ?", query.continuationToken.value)
        size = _page_size(query.pageSize.value, MAX_PAGE)
        rows = self._queries.entities(wanted, size + 1)
        page = rows[:size]
        more = page[-1].id if len(rows) > size else None
        return pb.QueryEntitiesResponse(
            entities=[_entity(row, query.includeState) for row in page],
            continuationToken=text(more),
        )


def _state(row: InstanceRow) -> pb.OrchestrationState:
    return pb.OrchestrationState(
        instanceId=row.id,
        name=row.name,
        version=text(row.version),
        orchestrationStatus=wire_status(row.status),
        scheduledStartTimestamp=optional_timestamp(row.scheduled),
        createdTimestamp=timestamp(row.created),
        lastUpdatedTimestamp=timestamp(row.updated),
        completedTimestamp=optional_timestamp(row.completed),
        input=text(row.input),
        output=text(row.output),
        customStatus=text(row.custom_status),
        failureDetails=(
            None if row.failure is None else pb.TaskFailureDetails.FromString(row.failure)
        ),
        executionId=text(row.execution),
        parentInstanceId=None if row.parent is None else text(row.parent.instance_id),
        tags=row.tags,
    )


def _entity(row: EntityRow, with_state: bool) -> pb.EntityMetadata:
    return pb.EntityMetadata(
        instanceId=row.id,
        lastModifiedTime=timestamp(row.modified),
        backlogQueueSize=row.backlog,
        lockedBy=text(row.owner_id),
        serializedState=text(row.state) if with_state else None,
    )


def _page_size(asked: int, otherwise: int) -> int:
    return min(asked, MAX_PAGE) if asked > 0 else otherwise


def _pair(token: str) -> tuple[str, str]:
    first, separator, second = token.partition("|")
    if not separator:
        raise InvalidRequest(f"'{token}' is no continuation token of this hub")
    return first, second


def _integer(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise InvalidRequest(f"'{value}' is no part of a continuation token") from None
