"""Queues as operators see them: the SDK over the local broker, and the doors over the stack."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from contracts.errors import Conflict, DependencyUnavailable, NotFound
from contracts.names import REJECTED_QUEUE, REQUESTS_QUEUE, RESULTS_QUEUE
from stores import inspection
from stores.inspection import Inspection, Place
from stores.queues import Namespace
from tests.integration.jobs_client import ended
from tests.integration.queues_client import Producer, producer
from tests.integration.service_bus_harness import BrokerProcess
from tests.integration.tenants_lab import RESEARCH, SALES, TenantsLab

# The SDK leaves its sockets' writers to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

EMBED = {"flow": "embed", "input": {"text": "hello"}}
REJECTED = Place(REJECTED_QUEUE)
DEAD = Place(REJECTED_QUEUE, dead_letters=True)


# Looking into queues, without an app.


@pytest.fixture(scope="module")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[BrokerProcess]:
    with BrokerProcess(tmp_path_factory.mktemp("queues") / "state") as process:
        yield process


@pytest.fixture(scope="module")
async def client(broker: BrokerProcess) -> AsyncIterator[ServiceBusClient]:
    async with ServiceBusClient.from_connection_string(broker.connection_string) as made:
        yield made


@pytest.fixture
async def looking(broker: BrokerProcess) -> AsyncIterator[Inspection]:
    made = Inspection(Namespace(connection_string=broker.connection_string))
    yield made
    for place in (REJECTED, DEAD):
        await made.purge(place, 10_000)
    await made.aclose()


async def put(client: ServiceBusClient, *bodies: bytes, **fields: Any) -> None:
    async with client.get_queue_sender(REJECTED_QUEUE) as sender:
        await sender.send_messages([ServiceBusMessage(each, **fields) for each in bodies])


async def bury(client: ServiceBusClient, count: int) -> None:
    """Dead-letter this many."""
    async with client.get_queue_receiver(REJECTED_QUEUE) as receiver:
        for _ in range(count):
            [message] = await receiver.receive_messages(1, max_wait_time=60)
            await receiver.dead_letter_message(message, "Broken", "it broke")


async def test_an_empty_queue(looking: Inspection):
    count = await looking.count(REJECTED)
    assert (count.messages, count.more, count.oldest_enqueued_at) == (0, False, None)
    assert await looking.page(REJECTED, 0, 10) == []


async def test_messages_are_counted_up_to_a_bound(looking, client, monkeypatch):
    await put(client, *(b"x" for _ in range(25)))
    assert (await looking.count(REJECTED)).messages == 25
    monkeypatch.setattr(inspection, "PEEKED_AT_ONCE", 10)
    counted = await looking.count(REJECTED)
    assert (counted.messages, counted.more) == (25, False)
    assert counted.oldest_enqueued_at is not None
    monkeypatch.setattr(inspection, "MOST_COUNTED", 20)
    counted = await looking.count(REJECTED)
    assert (counted.messages, counted.more) == (20, True)
    monkeypatch.setattr(inspection, "MOST_COUNTED_BYTES", 5)
    counted = await looking.count(REJECTED)
    assert (counted.messages, counted.more) == (10, True)


async def test_a_message_is_shown_as_it_is_and_goes_on_waiting(looking, client):
    fields = {
        "message_id": "m1",
        "correlation_id": "c1",
        "content_type": "text/plain",
        "reply_to": "team-replies",
        "application_properties": {"kind": "a", "count": 3, "yes": True},
    }
    await put(client, b"body", **fields)
    for _ in range(2):
        [shown] = await looking.page(REJECTED, 0, 10)
    assert (shown.message_id, shown.correlation_id, shown.body) == ("m1", "c1", b"body")
    assert (shown.content_type, shown.reply_to) == ("text/plain", "team-replies")
    assert shown.application_properties == {"kind": "a", "count": 3, "yes": True}
    assert (shown.state, shown.delivery_count) == ("active", 0)
    await bury(client, 1)
    [dead] = await looking.page(DEAD, 0, 10)
    assert (dead.dead_letter_reason, dead.dead_letter_description) == ("Broken", "it broke")
    assert dead.application_properties == {"kind": "a", "count": 3, "yes": True}


@pytest.mark.parametrize("place", [REJECTED, DEAD], ids=str)
async def test_one_message_is_taken_from_among_others(looking, client, place):
    await put(client, *(str(each).encode() for each in range(5)))
    if place is DEAD:
        await bury(client, 5)
    before = await looking.page(place, 0, 10)
    wanted = before[3]
    async with looking.taken(place, wanted.sequence_number) as held:
        assert held.body == wanted.body
    left = await looking.page(place, 0, 10)
    assert [each.body for each in left] == [b"0", b"1", b"2", b"4"]
    assert [each.delivery_count for each in left] == [1, 1, 1, 0]


async def test_what_fails_leaves_the_message_where_it_is(looking, client):
    await put(client, b"0", b"1")
    second = (await looking.page(REJECTED, 0, 10))[1].sequence_number
    with pytest.raises(ArithmeticError):
        async with looking.taken(REJECTED, second):
            raise ArithmeticError
    async with looking.taken(REJECTED, second):
        pass
    assert [each.body for each in await looking.page(REJECTED, 0, 10)] == [b"0"]


async def test_what_is_not_there_or_held_by_others(looking, client, monkeypatch):
    await put(client, b"0", b"1", b"2")
    [first, *_, last] = await looking.page(REJECTED, 0, 10)
    with pytest.raises(NotFound):
        async with looking.taken(REJECTED, last.sequence_number + 1):
            pass
    monkeypatch.setattr(inspection, "RECEIVE_SECONDS", 0.5)
    async with client.get_queue_receiver(REJECTED_QUEUE) as receiver:
        [held] = await receiver.receive_messages(1, max_wait_time=60)
        with pytest.raises(Conflict, match="cannot be had now"):
            async with looking.taken(REJECTED, first.sequence_number):
                pass
        await receiver.abandon_message(held)
    monkeypatch.setattr(inspection, "MOST_PASSED", 1)
    with pytest.raises(Conflict, match="more than 1 "):
        async with looking.taken(REJECTED, last.sequence_number):
            pass


async def test_a_purge_is_bounded(looking, client, monkeypatch):
    await put(client, *(b"x" for _ in range(12)))
    monkeypatch.setattr(inspection, "PURGED_AT_ONCE", 4)
    assert await looking.purge(REJECTED, 10) == (10, True)
    assert await looking.purge(REJECTED, 10) == (2, False)
    assert (await looking.count(REJECTED)).messages == 0


async def test_a_queue_that_is_not_there(looking):
    for asked in (looking.count(Place("none")), looking.purge(Place("none"), 1)):
        with pytest.raises(NotFound):
            await asked


async def test_a_broker_that_is_not_there():
    away = "Endpoint=sb://localhost:9;SharedAccessKeyName=a;SharedAccessKey=b;"
    looking = Inspection(Namespace(connection_string=away + "UseDevelopmentEmulator=true;"))
    with pytest.raises(DependencyUnavailable):
        await looking.count(REJECTED)
    await looking.aclose()


# The doors, over the whole stack.


@pytest.fixture(scope="module")
async def queue(stack) -> AsyncIterator[Producer]:
    async with producer(stack.service_bus) as made:
        yield made


async def call(api: Any, method: str, path: str, status: int = 200, **options: Any) -> Any:
    async with api.request(method, path, **options) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json(content_type=None)


async def find(api: Any, queue: str, message_id: str, dead_letters: bool = False) -> Any:
    """The message as the door shows it; None when it is not there."""
    query: dict[str, Any] = {"limit": 100, "dead_letters": str(dead_letters).lower(), "from": 0}
    while True:
        page = await call(api, "GET", f"/v1/queues/{queue}/messages", params=query)
        for each in page["data"]:
            if each["message_id"] == message_id:
                return each
        if not page["has_more"]:
            return None
        query["from"] = page["next_from"]


async def dead_lettered(queue: Producer, body: Any, **fields: Any) -> str:
    """A request that was dead-lettered. The app takes most of them first: those are jobs."""
    async with queue.client.get_queue_receiver(REQUESTS_QUEUE) as receiver:
        for _ in range(100):
            waiting = asyncio.create_task(receiver.receive_messages(1, max_wait_time=2))
            await asyncio.sleep(0.1)
            await queue.send(body, message_id=uuid.uuid4().hex, **fields)
            for message in await waiting:
                await receiver.dead_letter_message(message, "Broken", "storage was down")
                return str(message.message_id)
    raise AssertionError("the app took every message")


async def test_a_dead_letter_is_seen_resubmitted_and_answered_once(queue: Producer, api):
    message_id = await dead_lettered(queue, EMBED)
    listed = await call(api, "GET", "/v1/queues")
    [requests] = [each for each in listed["data"] if each["name"] == REQUESTS_QUEUE]
    assert requests["dead_letters"]["messages"] >= 1
    assert requests["dead_letters"]["oldest_enqueued_at"] is not None
    shown = await find(api, REQUESTS_QUEUE, message_id, dead_letters=True)
    assert (shown["dead_letter_reason"], shown["body"]) == ("Broken", None)
    assert shown["body_bytes"] == len(json.dumps(EMBED))

    path = f"/v1/queues/{REQUESTS_QUEUE}/messages/{shown['sequence']}"
    told = await call(api, "POST", f"{path}/resubmit?dead_letters=true")
    assert told["started"] == "job"
    reply = await queue.reply(message_id)
    assert (reply["id"], reply["status"]) == (told["id"], "succeeded")
    assert (await ended(api, told["id"]))["status"] == "succeeded"
    assert await find(api, REQUESTS_QUEUE, message_id, dead_letters=True) is None
    await call(api, "POST", f"{path}/resubmit?dead_letters=true", 404)
    assert len(queue.replies[message_id]) == 1


async def test_a_message_twice_among_the_dead_is_one_job(queue: Producer, api):
    """The message's id, not its copy, says which job it is."""
    body, message_id = json.dumps(EMBED), uuid.uuid4().hex
    async with queue.client.get_queue_sender(REJECTED_QUEUE) as sender:
        for _ in range(2):
            await sender.send_messages(ServiceBusMessage(body, message_id=message_id))
    started = []
    for _ in range(2):
        shown = await find(api, REJECTED_QUEUE, message_id)
        path = f"/v1/queues/{REJECTED_QUEUE}/messages/{shown['sequence']}/resubmit"
        started.append((await call(api, "POST", path))["id"])
    assert len(set(started)) == 1
    await queue.reply(message_id)
    assert await find(api, REJECTED_QUEUE, message_id) is None


async def test_what_is_still_wrong_stays_until_it_is_deleted_and_the_log_tells(
    queue: Producer, api
):
    message_id = await queue.send(b"{ this is no JSON", reply_to=RESULTS_QUEUE)
    await queue.reply(message_id)
    shown = await find(api, REJECTED_QUEUE, message_id)
    assert shown["properties"]["code"] == "invalid_request"
    assert shown["reply_to"] == RESULTS_QUEUE
    path = f"/v1/queues/{REJECTED_QUEUE}/messages/{shown['sequence']}"
    problem = await call(api, "POST", f"{path}/resubmit", 409)
    assert "(body)" in problem["detail"]
    query = f"from={shown['sequence']}&limit=1&body=true"
    page = await call(api, "GET", f"/v1/queues/{REJECTED_QUEUE}/messages?{query}")
    assert page["data"][0]["body"] == "{ this is no JSON"
    await call(api, "DELETE", path)
    assert await find(api, REJECTED_QUEUE, message_id) is None

    events = (await call(api, "GET", "/v1/audit?limit=100"))["data"]
    target = f"{REJECTED_QUEUE}/{shown['sequence']}"
    of_it = [(each["action"], each["outcome"]) for each in events if each["target"] == target]
    assert sorted(of_it) == [
        ("message.deleted", "accepted"),
        ("message.resubmitted", "accepted"),
        ("message.resubmitted", "failed"),
    ]
    assert any(each["action"] == "messages.read" for each in events)


async def test_a_reply_that_nobody_took_is_sent_again(queue: Producer, api):
    body, message_id = {"id": "job_none"}, uuid.uuid4().hex
    correlation = uuid.uuid4().hex
    async with queue.client.get_queue_sender(RESULTS_QUEUE) as sender:
        while True:  # the producer listens too
            async with queue.client.get_queue_receiver(RESULTS_QUEUE) as receiver:
                waiting = asyncio.create_task(receiver.receive_messages(1, max_wait_time=2))
                await asyncio.sleep(0.1)
                message_id, correlation = uuid.uuid4().hex, uuid.uuid4().hex
                await sender.send_messages(
                    ServiceBusMessage(
                        json.dumps(body), message_id=message_id, correlation_id=correlation
                    )
                )
                taken = await waiting
                for message in taken:
                    await receiver.dead_letter_message(message, "Broken")
                if taken:
                    break
    shown = await find(api, RESULTS_QUEUE, message_id, dead_letters=True)
    path = f"/v1/queues/{RESULTS_QUEUE}/messages/{shown['sequence']}/resubmit?dead_letters=true"
    assert (await call(api, "POST", path))["sent_to"] == RESULTS_QUEUE
    assert await queue.reply(correlation) == body
    await call(api, "DELETE", f"/v1/queues/{RESULTS_QUEUE}/messages/1", 409)


async def test_a_purge_by_the_door(queue: Producer, api):
    async with queue.client.get_queue_sender(REJECTED_QUEUE) as sender:
        await sender.send_messages([ServiceBusMessage(b"x") for _ in range(20)])
    path = f"/v1/queues/{REJECTED_QUEUE}/purge"
    await call(api, "POST", path, 400, json={"confirm": "all"})
    purged = await call(api, "POST", path, json={"confirm": REJECTED_QUEUE})
    assert purged["purged"] >= 20
    assert purged["more"] is False
    listed = await call(api, "GET", "/v1/queues")
    [rejected] = [each for each in listed["data"] if each["name"] == REJECTED_QUEUE]
    assert rejected["waiting"]["messages"] == 0


# With tenants: whose is it?


async def test_a_message_is_started_for_the_tenant_that_it_was_proved_to_be_of(
    tenants: TenantsLab,
):
    who = tenants.token()
    async with producer(tenants.stack.service_bus) as queue:
        async with queue.client.get_queue_sender(REJECTED_QUEUE) as sender:
            for tenant in (SALES, None):
                properties: dict[Any, Any] = {"tenant": tenant} if tenant else {}
                await sender.send_messages(
                    ServiceBusMessage(
                        json.dumps(EMBED),
                        message_id=f"of-{tenant}",
                        application_properties=properties,
                    )
                )
        page = await tenants.call("GET", f"/v1/queues/{REJECTED_QUEUE}/messages?limit=100", who)
        numbers = {each["message_id"]: each["sequence"] for each in page["data"]}
        path = f"/v1/queues/{REJECTED_QUEUE}/messages"
        unknown = await tenants.call("POST", f"{path}/{numbers['of-None']}/resubmit", who, 409)
        assert "whose it is" in unknown["detail"]
        told = await tenants.call("POST", f"{path}/{numbers['of-sales']}/resubmit", who)
        assert told["tenant"] == SALES
        assert (await queue.reply("of-sales"))["status"] == "succeeded"
        await tenants.call("DELETE", f"{path}/{numbers['of-None']}", who)
    await tenants.call("GET", f"/v1/jobs/{told['id']}", tenants.token(SALES))
    await tenants.call("GET", f"/v1/jobs/{told['id']}", tenants.token(RESEARCH), 404)


async def test_a_dead_letter_proves_itself_by_the_token_that_it_was_sent_with(
    tenants: TenantsLab,
):
    proof = {"authorization": f"Bearer {tenants.token(SALES)}"}
    async with producer(tenants.stack.service_bus) as queue:
        message_id = await dead_lettered(queue, EMBED, application_properties=proof)
        path = f"/v1/queues/{REQUESTS_QUEUE}/messages"
        page = await tenants.call("GET", f"{path}?dead_letters=true", tenants.token())
        [shown] = [each for each in page["data"] if each["message_id"] == message_id]
        assert shown["properties"] == {"authorization": "(not shown)"}
        resubmit = f"{path}/{shown['sequence']}/resubmit?dead_letters=true"
        told = await tenants.call("POST", resubmit, tenants.token())
        assert told["tenant"] == SALES
        assert (await queue.reply(message_id))["id"] == told["id"]


async def test_a_rejected_message_keeps_whose_it_is_and_no_token(tenants: TenantsLab):
    proof = {"authorization": f"Bearer {tenants.token(SALES)}"}
    async with producer(tenants.stack.service_bus) as queue:
        sent = await queue.send({"flow": "none", "input": {}}, application_properties=proof)
        await queue.reply(sent)
        path = f"/v1/queues/{REJECTED_QUEUE}/messages"
        page = await tenants.call("GET", f"{path}?limit=100", tenants.token())
        [shown] = [each for each in page["data"] if each["message_id"] == sent]
        assert shown["properties"]["tenant"] == SALES
        assert "authorization" not in shown["properties"]
        await tenants.call("DELETE", f"{path}/{shown['sequence']}", tenants.token())
