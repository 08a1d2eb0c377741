"""The door to queues: what it shows, what it sends on its way once more, and what it refuses."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wiring
from contracts.audit import AuditEvent
from contracts.errors import DependencyUnavailable, NotFound
from contracts.identity import Identity, Role
from contracts.names import REJECTED_QUEUE, REQUESTS_QUEUE, RESULTS_QUEUE
from stores.inspection import Count, KeptMessage, Place
from tests.unit.fakes import FakeDurableClient, FakeQueues, MemoryContainer, fake_parts
from tests.unit.http_fakes import asked
from triggers import queues as door
from triggers.queues import MOST_BODY_BYTES, shown_message
from triggers.resubmission import again

NOW = datetime(2030, 1, 1, tzinfo=UTC)
JOB = {"flow": "f", "input": {"text": "hi"}}
SECRET = "Bearer a-token-that-opens-doors"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def message(sequence: int = 1, body: Any = JOB, **changes: Any) -> KeptMessage:
    made = KeptMessage(
        sequence_number=sequence,
        message_id=f"m{sequence}",
        enqueued_time_utc=NOW,
        state="active",
        delivery_count=3,
        content_type="application/json",
        correlation_id=None,
        session_id=None,
        reply_to=None,
        reply_to_session_id=None,
        dead_letter_reason=None,
        dead_letter_description=None,
        application_properties={},
        body=body if isinstance(body, bytes) else json.dumps(body).encode(),
    )
    return replace(made, **changes)


@dataclass
class FakeInspection:
    """Behaves as stores.inspection.Inspection, over messages in memory."""

    messages: dict[Place, list[KeptMessage]] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)

    def _of(self, place: Place) -> list[KeptMessage]:
        if place.queue in self.down:
            raise DependencyUnavailable(f"Service Bus does not let {place} be looked into now.")
        return self.messages.setdefault(place, [])

    async def count(self, place: Place) -> Count:
        found = self._of(place)
        return Count(len(found), False, NOW if found else None)

    async def page(self, place: Place, begin: int, most: int) -> list[KeptMessage]:
        return [each for each in self._of(place) if each.sequence_number >= begin][:most]

    @asynccontextmanager
    async def taken(self, place: Place, sequence: int) -> AsyncIterator[KeptMessage]:
        [*found] = [each for each in self._of(place) if each.sequence_number == sequence]
        if not found:
            raise NotFound(f"There is no message {sequence} in {place}.")
        yield found[0]
        self._of(place).remove(found[0])

    async def purge(self, place: Place, most: int) -> tuple[int, bool]:
        gone, self.messages[place] = self._of(place)[:most], self._of(place)[most:]
        return len(gone), bool(self.messages[place])


class Door:
    """The door with everything behind it faked at the boundaries."""

    def __init__(self) -> None:
        async def never(given: Any, run: Any) -> Any:
            raise AssertionError("no flow is run")

        self.inspection, self.queues = FakeInspection(), FakeQueues()
        self.client, self.log = FakeDurableClient(), MemoryContainer()
        self.container = MemoryContainer()
        self.parts = replace(
            fake_parts(self.container, never, queues=self.queues, audited=self.log),
            inspection=cast(Any, self.inspection),
        )

    def put(self, place: Place, *messages: KeptMessage) -> None:
        self.inspection.messages[place] = list(messages)

    def events(self) -> list[tuple[str, str, str]]:
        events = [AuditEvent.model_validate_json(each) for each in self.log.blobs.values()]
        return [(each.action, each.target, each.outcome) for each in events]

    async def call(
        self,
        function: Any,
        queue: str = "",
        sequence: object = "",
        content: Any = None,
        **query: str,
    ) -> tuple[int, Any]:
        request = asked(
            "POST",
            "/v1/queues",
            json.dumps(content).encode(),
            query=query,
            route_params={"queue": queue, "sequence": str(sequence)},
        )
        answer = function._function._func
        if function is door.resubmit_message:
            response = await answer.__wrapped__(request, client=self.client)
        else:
            response = await answer(request)
        return response.status_code, json.loads(response.body)


@pytest.fixture
def it(monkeypatch: pytest.MonkeyPatch) -> Door:
    made = Door()
    monkeypatch.setattr(wiring, "parts", lambda: made.parts)
    return made


DEAD = Place(REQUESTS_QUEUE, dead_letters=True)
REJECTED = Place(REJECTED_QUEUE)


async def test_every_queue_is_listed_with_its_dead_letters(it: Door):
    it.put(DEAD, message(), message(2))
    status, told = await it.call(door.list_queues)
    assert status == 200
    assert [each["name"] for each in told["data"]] == list(door.QUEUES)
    requests = told["data"][0]
    assert requests["dead_letters"] == {
        "messages": 2,
        "more": False,
        "oldest_enqueued_at": "2030-01-01T00:00:00Z",
    }
    assert requests["waiting"] == {"messages": 0, "more": False, "oldest_enqueued_at": None}


async def test_a_queue_that_cannot_be_looked_at_says_why_and_hides_no_other(it: Door):
    it.inspection.down = {RESULTS_QUEUE}
    status, told = await it.call(door.list_queues)
    assert status == 200
    requests, results, rejected = told["data"]
    assert (results["waiting"], results["dead_letters"]) == (None, None)
    assert RESULTS_QUEUE in results["problem"]
    assert requests["waiting"] is not None
    assert rejected["problem"] is None


async def test_without_service_bus_it_says_so(it: Door):
    it.parts = replace(it.parts, inspection=None)
    for function in (door.list_queues, door.list_messages):
        status, problem = await it.call(function, REQUESTS_QUEUE)
        assert status == 409
        assert "ServiceBusConnection" in problem["detail"]


async def test_messages_come_in_pages_without_their_bodies_and_unaudited(it: Door):
    it.put(DEAD, *(message(each) for each in (3, 5, 9)))
    options = {"dead_letters": "true", "limit": "2"}
    _, first = await it.call(door.list_messages, REQUESTS_QUEUE, **options)
    assert [each["sequence"] for each in first["data"]] == [3, 5]
    assert (first["has_more"], first["next_from"]) == (True, 9)
    options["from"] = str(first["next_from"])
    _, last = await it.call(door.list_messages, REQUESTS_QUEUE, **options)
    assert [each["sequence"] for each in last["data"]] == [9]
    assert (last["has_more"], last["next_from"]) == (False, None)
    assert (last["data"][0]["body"], last["data"][0]["body_bytes"]) == (
        None,
        len(message().body),
    )
    assert it.events() == []


async def test_bodies_are_shown_when_asked_for_and_the_log_tells(it: Door):
    it.put(REJECTED, message(1, b"text"), message(2, b"\xff\x00"))
    _, page = await it.call(door.list_messages, REJECTED_QUEUE, body="true")
    text, binary = page["data"]
    assert (text["body"], text["body_base64"]) == ("text", None)
    assert (binary["body"], base64.b64decode(binary["body_base64"])) == (None, b"\xff\x00")
    assert it.events() == [("messages.read", REJECTED_QUEUE, "accepted")]
    it.log.down = True
    status, _ = await it.call(door.list_messages, REJECTED_QUEUE, body="true")
    assert status == 503


async def test_the_token_of_a_message_is_never_shown(it: Door):
    it.put(DEAD, message(application_properties={"Authorization": SECRET, "kind": 7}))
    _, page = await it.call(door.list_messages, REQUESTS_QUEUE, dead_letters="true", body="true")
    assert page["data"][0]["properties"] == {"Authorization": "(not shown)", "kind": 7}
    assert SECRET not in json.dumps(page)


@given(st.text(), st.integers(0, 3))
def test_a_long_text_is_cut_between_characters(text: str, shift: int):
    whole = "é" * shift + "x" * (MOST_BODY_BYTES - 2) + "é€" + text
    shown = shown_message(message(body=whole.encode()), with_body=True)
    assert shown.body_cut
    assert shown.body is not None
    assert whole.startswith(shown.body)
    assert MOST_BODY_BYTES - 3 <= len(shown.body.encode()) <= MOST_BODY_BYTES


@pytest.mark.parametrize(
    ("function", "query", "field"),
    [
        (door.list_messages, {"limit": "101"}, "limit"),
        (door.list_messages, {"limit": "21", "body": "true"}, "limit"),
        (door.list_messages, {"from": "-1"}, "from"),
        (door.list_messages, {"from": str(2**63)}, "from"),
        (door.list_messages, {"body": "yes"}, "body"),
        (door.list_messages, {"dead_letters": "1"}, "dead_letters"),
        (door.delete_message, {"sequence": "one"}, "sequence"),
        (door.resubmit_message, {"sequence": "9" * 19}, "sequence"),
    ],
)
async def test_what_is_wrong_is_named(it: Door, function: Any, query: dict[str, str], field: str):
    sequence = query.pop("sequence", "1")
    status, problem = await it.call(function, REJECTED_QUEUE, sequence, **query)
    assert (status, problem["errors"][0]["field"]) == (400, field)


@pytest.mark.parametrize("queue", ["inference", "inference-requests/$deadletterqueue", ""])
async def test_no_other_queue_of_the_namespace_is_shown(it: Door, queue: str):
    for function in (door.list_messages, door.delete_message, door.resubmit_message):
        assert (await it.call(function, queue, 1))[0] == 404


async def test_a_dead_letter_is_started_as_the_message_that_it_was(it: Door):
    trace = {"traceparent": TRACE}
    it.put(
        DEAD,
        message(correlation_id="c", reply_to="team-a-replies", application_properties=trace),
    )
    status, told = await it.call(door.resubmit_message, REQUESTS_QUEUE, 1, dead_letters="true")
    assert (status, told["started"], told["tenant"]) == (200, "job", "default")
    [(job, ticket)] = it.client.started.items()
    assert told["id"] == job
    assert ticket["reply"]["queue"] == "team-a-replies"
    assert ticket["reply"]["correlation_id"] == "c"
    assert ticket["reply"]["trace"] == trace
    assert it.inspection.messages[DEAD] == []
    assert it.events() == [("message.resubmitted", f"{REQUESTS_QUEUE}/dead-letters/1", "accepted")]


async def test_resubmitting_twice_is_one_job_also_when_the_first_had_started_it(it: Door):
    for place in (DEAD, REJECTED, DEAD):
        it.put(place, message())
        status, _ = await it.call(
            door.resubmit_message, place.queue, 1, dead_letters=str(place.dead_letters).lower()
        )
        assert status == 200
    assert it.client.starts == 1


async def test_what_still_can_start_nothing_stays_and_the_answer_says_why(it: Door):
    it.put(REJECTED, message(body={"flow": "secret-name"}))
    status, problem = await it.call(door.resubmit_message, REJECTED_QUEUE, 1)
    assert (status, problem["code"]) == (409, "conflict")
    assert "`input`" in problem["detail"]
    assert len(it.inspection.messages[REJECTED]) == 1
    assert it.client.starts == 0
    assert sorted(outcome for _, _, outcome in it.events()) == ["accepted", "failed"]


async def test_while_storage_is_down_the_message_stays(it: Door):
    it.put(DEAD, message())
    it.container.down = True
    status, _ = await it.call(door.resubmit_message, REQUESTS_QUEUE, 1, dead_letters="true")
    assert status == 503
    assert len(it.inspection.messages[DEAD]) == 1


async def test_what_cannot_be_noted_is_not_done(it: Door):
    it.put(REJECTED, message())
    it.log.down = True
    for function in (door.resubmit_message, door.delete_message):
        assert (await it.call(function, REJECTED_QUEUE, 1))[0] == 503
    status, _ = await it.call(door.purge_queue, REJECTED_QUEUE, content={"confirm": REJECTED_QUEUE})
    assert status == 503
    assert len(it.inspection.messages[REJECTED]) == 1
    assert it.client.starts == 0


async def test_a_reply_is_sent_again_by_an_id_of_its_own(it: Door):
    place = Place(RESULTS_QUEUE, dead_letters=True)
    reply = message(
        body={"id": "job_1"}, correlation_id="order", application_properties={"status": "failed"}
    )
    it.put(place, reply)
    status, told = await it.call(door.resubmit_message, RESULTS_QUEUE, 1, dead_letters="true")
    assert (status, told["sent_to"], told["id"]) == (200, RESULTS_QUEUE, None)
    [sent] = it.queues.sent[RESULTS_QUEUE].values()
    assert sent.id == again(place, reply) != reply.message_id
    assert (sent.body, sent.correlation_id) == (reply.body, "order")
    assert sent.properties == {"status": "failed"}
    assert it.inspection.messages[place] == []


@pytest.mark.parametrize("queue", [REQUESTS_QUEUE, RESULTS_QUEUE])
async def test_what_is_on_its_way_is_let_be(it: Door, queue: str):
    it.put(Place(queue), message())
    for function in (door.resubmit_message, door.delete_message, door.purge_queue):
        status, problem = await it.call(function, queue, 1, content={"confirm": queue})
        assert status == 409
        assert "on their way" in problem["detail"]
    assert len(it.inspection.messages[Place(queue)]) == 1
    assert it.events() == []


async def test_one_message_is_deleted(it: Door):
    it.put(REJECTED, message(1), message(2))
    assert await it.call(door.delete_message, REJECTED_QUEUE, 1) == (
        200,
        {"object": "message.deleted", "queue": REJECTED_QUEUE, "sequence": 1, "deleted": True},
    )
    assert [each.sequence_number for each in it.inspection.messages[REJECTED]] == [2]
    assert it.events() == [("message.deleted", f"{REJECTED_QUEUE}/1", "accepted")]
    assert (await it.call(door.delete_message, REJECTED_QUEUE, 1))[0] == 404


async def test_a_purge_needs_the_queues_name_and_is_bounded(it: Door):
    it.put(REJECTED, *(message(each) for each in range(door.MOST_PURGED + 1)))
    status, problem = await it.call(
        door.purge_queue, REJECTED_QUEUE, content={"confirm": REQUESTS_QUEUE}
    )
    assert (status, problem["errors"][0]["field"]) == (400, "confirm")
    body = {"confirm": REJECTED_QUEUE}
    _, first = await it.call(door.purge_queue, REJECTED_QUEUE, content=body)
    assert (first["purged"], first["more"]) == (door.MOST_PURGED, True)
    _, last = await it.call(door.purge_queue, REJECTED_QUEUE, content=body)
    assert (last["purged"], last["more"]) == (1, False)
    assert it.events() == [("queue.purged", REJECTED_QUEUE, "accepted")] * 2


class Tenants:
    """Two tenants; a message proves its own with a token that holds for a minute."""

    async def identify(self, headers: object) -> Identity:
        return Identity("ops", "entra:1", frozenset({Role.OPERATE}))

    async def identify_message(self, authorization: object, facts: Any) -> Identity:
        assert facts.enqueued_at == NOW
        assert facts.id == "m1"
        assert authorization == SECRET
        return Identity("sales", "producer", frozenset({Role.SUBMIT}))

    def of_tenant(self, tenant: str, subject: str) -> Identity | None:
        known = tenant in ("research", "sales")
        return Identity(tenant, subject, frozenset({Role.SUBMIT})) if known else None


@pytest.fixture
def tenants(it: Door) -> Door:
    it.parts = replace(
        it.parts,
        identities=cast(Any, Tenants()),
        refusals=cast(Any, SimpleNamespace(count=lambda code: None)),
    )
    return it


async def test_a_dead_letter_proves_whose_it_is_as_when_it_was_sent(tenants: Door):
    late = message(application_properties={"authorization": SECRET})
    tenants.put(DEAD, late)
    status, told = await tenants.call(door.resubmit_message, REQUESTS_QUEUE, 1, dead_letters="true")
    assert (status, told["tenant"]) == (200, "sales")


@pytest.mark.parametrize("place", [REJECTED, Place(REJECTED_QUEUE, dead_letters=True)])
async def test_what_was_rejected_is_of_the_tenant_that_the_app_noted(tenants: Door, place: Place):
    tenants.put(place, message(application_properties={"tenant": "research"}))
    options = {"dead_letters": str(place.dead_letters).lower()}
    status, told = await tenants.call(door.resubmit_message, REJECTED_QUEUE, 1, **options)
    assert (status, told["tenant"]) == (200, "research")


@pytest.mark.parametrize("properties", [{}, {"tenant": "gone"}, {"tenant": 7}])
async def test_what_nobody_proved_starts_nothing(tenants: Door, properties: dict[str, Any]):
    sent = message(application_properties=properties)
    tenants.put(REJECTED, replace(sent, enqueued_time_utc=NOW + timedelta(days=1)))
    status, problem = await tenants.call(door.resubmit_message, REJECTED_QUEUE, 1)
    assert status == 409
    assert "whose it is" in problem["detail"]
    assert tenants.client.starts == 0
