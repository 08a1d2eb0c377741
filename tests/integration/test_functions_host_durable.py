"""Orchestrations, activities and entities of the sample app, through the host and the task hub."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from tests.integration.functions_host_harness import KEY, Client, functions_host, task_hub, until

API = "/runtime/webhooks/durabletask"


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    folder = tmp_path_factory.mktemp("durable")
    with task_hub(folder) as hub, functions_host(folder, hub.address) as running:
        yield running


@pytest.fixture(scope="module")
def client(host):
    with Client(base_url=host.address, timeout=120) as client:
        yield client


def api(client, method, path, **options):
    return client.request(method, f"{API}/{path}", headers={"x-functions-key": KEY}, **options)


# Orchestrations


@pytest.mark.parametrize(
    ("name", "body", "output"),
    [
        ("one", 21, 42),
        ("fan", 40, sum(2 * n for n in range(40))),
        ("parent", [1, 2, 3], 36),
        ("countdown", 3, "lift-off"),
        ("stubborn", "mule", 3),
        ("counting", "k1", 3),
        ("catching", "no luck", {"type": "ValueError", "message": "no luck"}),
        ("catching", "", {"type": "ValueError", "message": "ValueError"}),
    ],
)
def test_an_orchestration_ends_with_its_output(client, name, body, output):
    described = client.run(name, body)
    assert described["runtimeStatus"] == "Completed"
    assert described["output"] == output


def test_a_durable_timer_waits(client):
    assert client.run("sleeper", 0.3)["output"] >= 0.3


def test_a_synchronous_function_uses_the_synchronous_client(client):
    response = client.post("/api/start-sync/one", json=4)
    assert response.status_code == 202
    assert client.ended(response.headers["location"])["output"] == 8


def test_an_entity_keeps_its_state(client):
    client.run("counting", "k2")
    client.run("counting", "k2")
    assert client.get("/api/counters/k2").text == "6"
    assert client.get("/api/counters/never").text == ""


def test_a_failing_orchestration_shows_why_and_is_logged_once(client, host):
    url = client.start_instance("failing", "out of luck")
    described = client.ended(url)
    assert described["runtimeStatus"] == "Failed"
    assert "out of luck" in described["output"]
    host.wait_for("ValueError: out of luck")
    assert host.log.count("ValueError: out of luck") == 1
    assert client.get(f"{url}&returnInternalServerErrorOnFailure=true").status_code == 500


def test_an_activity_that_does_not_exist_fails_its_orchestration(client):
    described = client.run("lost")
    assert described["runtimeStatus"] == "Failed"
    assert "nowhere" in described["output"]


def test_an_instance_that_runs_is_not_started_again(client, host):
    client.start_instance("waiter", instance_id="only-one")
    response = client.post("/api/start/waiter", params={"id": "only-one"})
    assert response.status_code == 500
    host.wait_for("already exists")


async def test_a_hundred_starts_at_once_all_end(host):
    async with httpx.AsyncClient(base_url=host.address, timeout=180) as client:

        async def run(number):
            response = await client.post("/api/start/one", json=number)
            assert response.status_code == 202
            limit = time.monotonic() + 180
            while time.monotonic() < limit:
                status = await client.get(response.headers["location"])
                if status.status_code == 200:
                    return status.json()["output"]
                await asyncio.sleep(0.1)
            raise AssertionError("not ended in time")

        outputs = await asyncio.gather(*(run(number) for number in range(100)))
    assert outputs == [2 * number for number in range(100)]


# The URLs that a function hands out


def test_every_url_of_a_check_status_response_works_when_followed(client):
    links = client.post("/api/start/waiter").json()
    assert client.get(links["statusQueryGetUri"]).status_code == 202
    pause = links["suspendPostUri"].replace("{text}", "a%20break")
    assert client.post(pause).status_code == 202
    client.reached(links["statusQueryGetUri"], "Suspended")
    assert client.post(links["resumePostUri"].replace("{text}", "on")).status_code == 202
    client.reached(links["statusQueryGetUri"], "Running")
    event = links["sendEventPostUri"].replace("{eventName}", "answer")
    assert client.post(event, json={"to": "everything"}).status_code == 202
    assert client.ended(links["statusQueryGetUri"])["output"] == {"to": "everything"}
    restarted = client.post(links["restartPostUri"])
    assert restarted.status_code == 202
    again = restarted.json()
    assert again["id"] != links["id"]
    assert client.post(again["terminatePostUri"].replace("{text}", "enough")).status_code == 202
    ended = client.ended(again["statusQueryGetUri"])
    assert (ended["runtimeStatus"], ended["output"]) == ("Terminated", "enough")
    assert client.delete(again["purgeHistoryDeleteUri"]).json() == {"instancesDeleted": 1}
    assert client.get(again["statusQueryGetUri"]).status_code == 404


def test_a_failed_instance_is_rewound(client):
    links = client.post("/api/start/failing", json="broken pipe").json()
    assert client.ended(links["statusQueryGetUri"])["runtimeStatus"] == "Failed"
    client.post("/api/mend", content="broken pipe")
    assert client.post(links["rewindPostUri"].replace("{text}", "mended")).status_code == 202
    until(lambda: client.get(links["statusQueryGetUri"]).json()["output"] == "mended" or None)


# The durable HTTP API itself


def test_an_orchestrator_is_started_over_the_api(client):
    response = api(client, "POST", "orchestrators/one/api-1", json=5)
    assert response.status_code == 202
    assert response.json()["id"] == "api-1"
    described = client.ended(response.headers["location"])
    assert described["name"] == "one"
    assert (described["input"], described["output"]) == (5, 10)
    assert api(client, "POST", "orchestrators/one/api-1", json=6).status_code == 202
    assert api(client, "POST", "orchestrators/waiter/api-2").status_code == 202
    assert api(client, "POST", "orchestrators/waiter/api-2").status_code == 409
    unknown = api(client, "POST", "orchestrators/nobody")
    assert unknown.status_code == 400
    assert "nobody" in unknown.text
    assert "waiter" in unknown.text
    broken = api(client, "POST", "orchestrators/one", content=b"{")
    assert broken.status_code == 400


def test_starting_can_wait_for_the_output(client):
    query = {"timeout": "100", "pollingInterval": "1"}
    response = api(client, "POST", "orchestrators/one", json=5, params=query)
    assert (response.status_code, response.json()) == (200, 10)
    query = {"timeout": "0.2", "pollingInterval": "0.1"}
    assert api(client, "POST", "orchestrators/waiter", params=query).status_code == 202


def test_status_with_and_without_input_and_history(client):
    url = client.start_instance("one", 8)
    client.ended(url)
    assert client.get(f"{url}&showInput=false").json()["input"] is None
    history = client.get(f"{url}&showHistory=true&showHistoryOutput=true").json()["historyEvents"]
    assert [event["EventType"] for event in history] == [
        "ExecutionStarted",
        "TaskCompleted",
        "ExecutionCompleted",
    ]
    assert history[1]["Result"] == 16
    assert "historyEvents" not in client.get(url).json()


def test_a_running_instance_says_where_and_when_to_look_again(client):
    url = client.start_instance("waiter")
    response = client.get(url)
    assert response.status_code == 202
    assert response.headers["location"] == url
    assert int(response.headers["retry-after"]) > 0


def test_instances_are_listed_in_pages_and_by_filter(client):
    for number in range(5):
        client.ended(client.start_instance("one", number, instance_id=f"page-{number}"))
    query = {"instanceIdPrefix": "page-", "top": "2", "runtimeStatus": "Completed,Failed"}
    seen: list[str] = []
    token = ""
    while True:
        response = client.get(
            f"{API}/instances",
            params=query,
            headers={"x-functions-key": KEY, "x-ms-continuation-token": token},
        )
        page = response.json()
        assert len(page) <= 2
        seen += [instance["instanceId"] for instance in page]
        token = response.headers["x-ms-continuation-token"]
        if not token:
            break
    assert sorted(seen) == [f"page-{number}" for number in range(5)]
    later = {"createdTimeFrom": "2100-01-01T00:00:00Z"}
    assert api(client, "GET", "instances", params=later).json() == []


def test_instances_are_purged_by_filter(client):
    assert api(client, "DELETE", "instances").status_code == 400
    future = {"createdTimeFrom": "2100-01-01T00:00:00Z"}
    assert api(client, "DELETE", "instances", params=future).status_code == 404
    client.ended(client.start_instance("sleeper", 0, instance_id="old"))
    past = {"createdTimeFrom": "2020-01-01T00:00:00Z", "runtimeStatus": "Completed"}
    assert api(client, "DELETE", "instances", params=past).json()["instancesDeleted"] >= 1
    assert api(client, "GET", "instances/old").status_code == 404


def entity_page(client, path, token="", **query):
    response = client.get(
        f"{API}/{path}",
        params=query,
        headers={"x-functions-key": KEY, "x-ms-continuation-token": token},
    )
    assert response.status_code == 200, response.text
    return response.json(), response.headers["x-ms-continuation-token"]


def test_an_entity_is_signalled_read_and_deleted_over_the_api(client):
    assert api(client, "GET", "entities/Counter/signalled").status_code == 404
    for number in (2, 3):
        signal = api(client, "POST", "entities/Counter/signalled?op=add", json=number)
        assert (signal.status_code, signal.content) == (202, b"")

    def sum_of_both():
        return api(client, "GET", "entities/counter/signalled").json() == 5 or None

    until(sum_of_both)
    assert api(client, "POST", "entities/counter/signalled?op=get").status_code == 202
    assert api(client, "DELETE", "entities/counter/signalled").status_code == 202
    until(lambda: api(client, "GET", "entities/counter/signalled").status_code == 404 or None)


def test_entities_are_listed_in_pages_with_their_state_when_asked_for(client):
    keys = [f"listed-{number}" for number in range(3)]
    for key in keys:
        api(client, "POST", f"entities/counter/{key}?op=add", json=7)
    for key in keys:
        until(lambda key=key: api(client, "GET", f"entities/counter/{key}").is_success or None)
    seen, token = [], ""
    while True:
        page, token = entity_page(client, "entities/Counter", token, top=2, fetchState="true")
        assert len(page) <= 2
        seen += page
        if not token:
            break
    listed = {e["entityId"]["key"]: e for e in seen if e["entityId"]["key"] in keys}
    assert sorted(listed) == keys
    one = listed["listed-0"]
    assert one["entityId"] == {"name": "counter", "key": "listed-0"}
    assert one["state"] == 7
    everything, _ = entity_page(client, "entities", top=1000)
    assert len(everything) == len(seen)
    assert all("state" not in entity for entity in everything)
    assert entity_page(client, "entities/nobody")[0] == []
    later, earlier = "2100-01-01T00:00:00Z", "2020-01-01T00:00:00Z"
    assert entity_page(client, "entities", lastOperationTimeFrom=later)[0] == []
    assert entity_page(client, "entities", lastOperationTimeTo=earlier)[0] == []
    assert one["lastOperationTime"] > earlier


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "entities/nobody/key", 404),
        ("POST", "entities/counter/a%40b", 400),
        ("GET", "entities?top=none", 400),
        ("PUT", "entities/counter/key", 404),
        ("GET", "instances/unknown", 404),
        ("DELETE", "instances/unknown", 404),
        ("POST", "instances/unknown/terminate", 404),
        ("POST", "instances/unknown/raiseEvent/e", 404),
        ("POST", "instances/ended/terminate", 410),
        ("POST", "instances/ended/suspend", 410),
        ("POST", "instances/ended/resume", 410),
        ("POST", "instances/ended/raiseEvent/e", 410),
        ("POST", "instances/ended/rewind", 412),
        ("DELETE", "instances/going", 412),
        ("POST", "instances/going/raiseEvent/e", 400),  # no JSON
        ("POST", "instances/going/dance", 404),
        ("GET", "instances?runtimeStatus=Bored", 400),
        ("GET", "instances?top=0", 400),
        ("GET", "instances?createdTimeTo=yesterday", 400),
        ("PUT", "instances/going", 404),
    ],
)
def test_what_cannot_be_done_is_refused(client, method, path, status):
    if client.get(f"{API}/instances/ended", params={"code": KEY}).status_code == 404:
        client.ended(client.start_instance("one", 1, instance_id="ended"))
        client.reached(client.start_instance("waiter", instance_id="going"), "Running")
    assert api(client, method, path).status_code == status


def test_an_operations_input_must_be_json(client):
    for content, kind in ((b"{", "application/json"), (b"1", "text/plain")):
        headers = {"x-functions-key": KEY, "content-type": kind}
        url = f"{API}/entities/counter/key?op=add"
        assert client.post(url, content=content, headers=headers).status_code == 400


def test_the_api_needs_the_system_key(client):
    assert client.get(f"{API}/entities/counter").status_code == 401
    assert client.get(f"{API}/instances").status_code == 401
    assert client.get(f"{API}/instances", params={"code": "wrong"}).status_code == 401


def test_an_instance_id_may_hold_any_character(client):
    odd = "a/b ?ü@c"
    url = client.start_instance("one", 3, instance_id=odd)
    described = client.ended(url)
    assert (described["instanceId"], described["output"]) == (odd, 6)
