"""The main job over real sockets: HTTP in, flow, model server, result out."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import aiohttp
import pytest

from tests.integration.jobs_client import ACCEPTED, ended, submit


async def test_a_job_is_accepted_at_once_and_ends_with_its_result(api):
    status, headers, accepted = await submit(api, metadata={"order": "17"})

    # On a busy machine it may have ended before it is answered for.
    assert (status, headers.get("Retry-After")) in {(202, "1"), (200, None)}
    assert headers["Location"] == f"/v1/jobs/{accepted['id']}"
    record = await ended(api, accepted["id"])
    assert record["status"] == "succeeded"
    assert len(record["result"]["embeddings"][0]) == 384
    assert record["metadata"] == {"order": "17"}
    [attempt] = record["attempts"]
    assert (attempt["deployment"], attempt["status"]) == ("embed-aml", 200)
    assert record["usage"]["input_tokens"] > 0
    timing = record["timing"]
    assert 0 < timing["model_seconds"] <= timing["flow_seconds"]
    assert timing["queue_seconds"] >= 0


async def test_prefer_wait_answers_with_the_result(api):
    status, headers, record = await submit(api, headers={"Prefer": "wait=100"})
    assert status == 200
    assert headers["Preference-Applied"] == "wait=100"
    assert record["status"] == "succeeded"
    assert record["result"]


async def test_the_result_alone(api):
    _, _, record = await submit(api, headers={"Prefer": "wait=100"})
    async with api.get(record["result_url"]) as response:
        assert response.status == 200
        assert await response.json() == record["result"]


@pytest.mark.parametrize(
    ("flow", "input", "holds"),
    [
        ("embed", {"text": ["a", "b"]}, lambda result: len(result["embeddings"]) == 2),
        (
            "classify",
            {"text": "The striker scored twice.", "labels": ["sport", "cooking"]},
            lambda result: result["label"] == "sport",
        ),
        (
            "answer",
            {
                "question": "How tall is the tower?",
                "documents": ["The tower is 300 metres tall.", "Bread is baked in an oven."],
            },
            lambda result: "300" in result["answer"],
        ),
        (
            "summarize",
            {"text": "The sea was calm. The ship sailed at dawn. Cats like fish.", "max_words": 8},
            lambda result: 0 < len(result["summary"].split()) <= 8,
        ),
    ],
)
async def test_each_shipped_flow(api, flow, input, holds):
    status, _, record = await submit(api, flow, input, headers={"Prefer": "wait=100"})
    assert status == 200, record
    assert record["status"] == "succeeded", record
    assert holds(record["result"]), record["result"]
    assert record["attempts"]


async def test_the_same_idempotency_key_is_the_same_job(api):
    key = {"Idempotency-Key": f"order-{time.time_ns()}"}
    answers = await asyncio.gather(*(submit(api, headers=key) for _ in range(10)))
    assert {status for status, _, _ in answers} <= {200, 202}
    assert len({record["id"] for _, _, record in answers}) == 1

    await ended(api, answers[0][2]["id"])
    status, _, again = await submit(api, headers=key)
    assert status == 200
    assert again["id"] == answers[0][2]["id"]
    assert again["status"] == "succeeded"


async def test_an_idempotency_key_is_for_one_request(api):
    key = {"Idempotency-Key": f"order-{time.time_ns()}"}
    await submit(api, headers=key)
    status, _, problem = await submit(api, input={"text": "other"}, headers=key)
    assert status == 422
    assert problem["code"] == "idempotency_key_reused"


@pytest.mark.parametrize(
    ("body", "field", "expected"),
    [
        ({"flow": "nope", "input": {}}, "flow", "answer"),
        ({"flow": "embed", "input": {}}, "input.text", ""),
        ({"flow": "embed", "input": {"text": 1}}, "input.text", ""),
        ({"flow": "embed", "input": {"text": "a", "x": 1}}, "input.x", ""),
        ({"flow": "embed", "input": {"text": "a"}, "model": "nope"}, "model", "classifier"),
        ({"flow": "embed", "input": {"text": "a"}, "deadline": "soon"}, "deadline", "PT10M"),
        ({"flow": "embed", "input": {"text": "a"}, "deadline": "-PT1M"}, "deadline", "to come"),
        ({"flow": "embed"}, "input", "required"),
        ({"flow": "embed", "input": {"text": "a"}, "colour": "red"}, "colour", "no such field"),
        ([], "(body)", "object"),
    ],
)
async def test_bad_input_names_the_field_and_what_was_expected(api, body, field, expected):
    before = await newest(api)
    async with api.post("/v1/jobs", json=body) as response:
        problem = await response.json()
        assert response.status == 400, problem
        assert response.content_type == "application/problem+json"
    [found] = problem["errors"]
    assert found["field"] == field
    assert expected in found["expected"]
    assert await newest(api) == before, "nothing may be stored or started"


async def newest(api) -> str | None:
    async with api.get("/v1/jobs", params={"limit": 1}) as response:
        data = (await response.json())["data"]
    return data[0]["id"] if data else None


@pytest.mark.parametrize("job_id", ["nope", "job_" + "0" * 34, "..%2f..%2fsecret"])
@pytest.mark.parametrize(("method", "tail"), [("GET", ""), ("GET", "/result"), ("DELETE", "")])
async def test_a_job_that_is_not_there(api, method, tail, job_id):
    async with api.request(method, f"/v1/jobs/{job_id}{tail}") as response:
        assert response.status == 404


async def test_the_list_is_newest_first_and_paged(api):
    ids = [(await submit(api))[2]["id"] for _ in range(5)]
    seen: list[str] = []
    after = None
    while len(seen) < 5:
        params = {"limit": "2"} | ({"after": after} if after else {})
        async with api.get("/v1/jobs", params=params) as response:
            page = await response.json()
        assert len(page["data"]) <= 2
        seen += [record["id"] for record in page["data"]]
        after = page["next_after"]
        assert page["has_more"] is (after is not None)
    assert seen[:5] == ids[::-1]


async def test_a_key_is_needed_for_jobs_and_not_for_health(stack):
    async with aiohttp.ClientSession(stack.http) as anyone:
        async with anyone.get("/v1/jobs") as response:
            assert response.status == 401
        async with anyone.get("/healthz") as response:
            assert response.status == 200
            assert (await response.json())["status"] == "ok"
        async with anyone.get("/openapi.json") as response:
            assert (await response.json())["openapi"] == "3.1.0"


async def test_a_job_past_its_deadline_expires(api):
    status, _, record = await submit(api, "slow", {"seconds": 60}, deadline="PT0.5S")
    assert status in ACCEPTED
    record = await ended(api, record["id"])
    assert record["status"] == "expired"
    assert record["error"]["code"] == "deadline_exceeded"


async def test_a_running_job_can_be_cancelled_and_cancelled_again(api):
    status, headers, record = await submit(api, "slow", {"seconds": 600})
    assert (status, headers["Retry-After"]) == (202, "1")
    async with api.delete(f"/v1/jobs/{record['id']}") as response:
        assert response.status in ACCEPTED
    assert (await ended(api, record["id"]))["status"] == "cancelled"
    async with api.delete(f"/v1/jobs/{record['id']}") as response:
        assert response.status == 200
        assert (await response.json())["status"] == "cancelled"


async def test_an_ended_job_cannot_be_cancelled(api):
    _, _, done = await submit(api, headers={"Prefer": "wait=100"})
    async with api.delete(f"/v1/jobs/{done['id']}") as response:
        assert response.status == 409
        assert "succeeded" in (await response.json())["detail"]


async def test_flows_are_listed_with_their_schema(api):
    async with api.get("/v1/flows") as response:
        listed = await response.json()
    flows = {flow["name"]: flow for flow in listed["data"]}
    assert set(flows) >= {"summarize", "classify", "answer", "embed"}
    assert flows["embed"]["input_schema"]["required"] == ["text"]
    assert set(flows["answer"]["models"]) == {
        "chat",
        "embed",
    }
    assert all(flow["description"] for flow in flows.values())


async def test_created_at_is_now(api):
    _, _, record = await submit(api)
    age = datetime.now(UTC) - datetime.fromisoformat(record["created_at"])
    assert abs(age.total_seconds()) < 120
