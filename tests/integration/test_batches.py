"""Batches over the whole local stack: the contract of the OpenAI API, and what is beyond it."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from contracts.batches import AcceptedBatch, BatchRequest, BatchTicket
from contracts.ids import new_batch_id
from contracts.names import BATCH_ORCHESTRATOR
from devhost.inference.simulated import Behaviour, Constant, Status
from stores.batches import BatchStore
from stores.blobs import Container, StorageAccount
from tests.integration.batches_lab import Lab, chat_lines, ids
from tests.integration.batches_lab import lab as running_lab
from tests.unit.lines_fakes import CHAT, chat_line, job_line, jsonl

MOST_CANCELLING_SECONDS = 25
"""docs/batches.md promises 10, of a machine that has nothing else to do; without the cancellation
the batch would run on for 30."""
HISTORY = "/runtime/webhooks/durabletask/instances/{}?showHistory=true&showHistoryOutput=true"


@pytest.fixture(scope="module")
async def it(tmp_path_factory):
    async with running_lab(tmp_path_factory.mktemp("batches")) as lab:
        yield lab


@pytest.fixture(autouse=True)
def fresh(it: Lab):
    it.model.set(Behaviour())
    it.model.reset_counts()


# A batch, from its file to its files.


async def test_a_batch_of_chat_completions(it: Lab):
    it.slow(20, capacity=64)
    file = await it.batches.upload(chat_lines(1200), name="june.jsonl")
    created = await it.batches.create(file["id"], metadata={"team": "a"})
    assert created["object"] == "batch"
    assert created["status"] in ("validating", "in_progress")
    assert created["expires_at"] - created["created_at"] == 24 * 3600
    batch = await it.batches.ended(created["id"])

    assert batch["status"] == "completed"
    assert batch["model"] == "chat"
    assert batch["metadata"] == {"team": "a"}
    assert batch["request_counts"] == {"total": 1200, "completed": 1200, "failed": 0}
    assert batch["error_file_id"] is None
    times = [batch[name] for name in ("created_at", "in_progress_at", "finalizing_at")]
    assert [*times, batch["completed_at"]] == sorted([*times, batch["completed_at"]])
    out, _ = await it.batches.results(batch)
    assert out.keys() == ids(1200)
    line = out["r7"]
    assert line.keys() == {"id", "custom_id", "response", "error"}
    assert line["response"]["status_code"] == 200
    assert line["response"]["body"]["object"] == "chat.completion"
    assert line["response"]["request_id"]
    used = [each["response"]["body"]["usage"]["total_tokens"] for each in out.values()]
    assert batch["usage"]["total_tokens"] == sum(used)
    assert it.calls() == 1200

    output = await it.batches.call("GET", f"/v1/files/{batch['output_file_id']}")
    assert output["purpose"] == "batch_output"
    assert output["filename"] == f"{batch['id']}_output.jsonl"


async def test_a_batch_of_embeddings(it: Lab):
    line = chat_line("a", url="/v1/embeddings", body={"model": "embed", "input": ["x", "y"]})
    batch = await it.batches.run(jsonl(line), "/v1/embeddings")
    out, _ = await it.batches.results(batch)
    assert len(out["a"]["response"]["body"]["data"]) == 2


async def test_a_batch_of_responses(it: Lab):
    line = chat_line("a", url="/v1/responses", body={"model": "chat", "input": "Hi"})
    batch = await it.batches.run(jsonl(line), "/v1/responses")
    out, _ = await it.batches.results(batch)
    assert out["a"]["response"]["body"]["object"] == "response"


async def test_a_batch_of_jobs_runs_flows(it: Lab):
    lines = [
        job_line("embedded", flow="embed", input={"text": ["x", "y"]}),
        job_line("summarised", flow="summarize", input={"text": "A long text."}),
        job_line("wrong", flow="embed", input={"words": []}),
    ]
    batch = await it.batches.run(jsonl(*lines), "/v1/jobs")
    assert batch["status"] == "completed"
    out, err = await it.batches.results(batch)
    assert out.keys() == {"embedded", "summarised"}
    assert len(out["embedded"]["response"]["body"]["embeddings"]) == 2
    assert out["summarised"]["response"]["body"]["summary"]
    assert out["summarised"]["response"]["usage"]["output_tokens"] > 0
    assert err["wrong"]["response"]["status_code"] == 400
    assert "input.text" in err["wrong"]["response"]["body"]["error"]["message"]


async def test_progress_is_shown_while_a_batch_runs(it: Lab):
    it.slow(200, capacity=20)
    created = await it.batches.begin(chat_lines(400))
    seen = []
    while (batch := await it.batches.get(created["id"]))["status"] != "completed":
        counts = batch["request_counts"]
        if batch["status"] == "in_progress":
            assert counts["total"] == 400
            seen.append(counts["completed"])
        await asyncio.sleep(0.1)
    assert seen == sorted(seen)
    assert len(set(seen)) >= 3, seen


async def test_lines_that_only_look_different_are_lines(it: Lab):
    """A BOM, CRLF, empty lines, and no line break at the end."""
    data = b"\xef\xbb\xbf\r\n" + b"\r\n\n".join(chat_lines(30).splitlines())
    batch = await it.batches.run(data)
    assert batch["status"] == "completed"
    out, _ = await it.batches.results(batch)
    assert out.keys() == ids(30)
    assert it.calls() == 30


async def test_a_long_answer_is_one_line(it: Lab):
    it.model.set(Behaviour(completion_tokens=100_000))
    data = jsonl(*(chat_line(f"r{n}") for n in range(40)))
    batch = await it.batches.run(data)
    out, _ = await it.batches.results(batch)
    assert (
        min(
            len(line["response"]["body"]["choices"][0]["message"]["content"])
            for line in out.values()
        )
        > 300_000
    )


# Batches and their lists.


async def test_batches_are_listed_newest_first(it: Lab):
    mine = [(await it.batches.begin(chat_lines(1)))["id"] for _ in range(5)]
    for batch_id in mine:
        await it.batches.ended(batch_id)
    seen: list[str] = []
    after: dict[str, str] = {}
    while len(seen) < 5:
        page = await it.batches.call("GET", "/v1/batches", params={"limit": "2", **after})
        assert page["object"] == "list"
        assert page["has_more"]
        seen += [batch["id"] for batch in page["data"]]
        after = {"after": page["last_id"]}
    assert seen[:5] == mine[::-1]


async def test_what_is_not_there(it: Lab):
    for path in ("/v1/batches/batch_1", f"/v1/batches/{new_batch_id(datetime.now(UTC))}"):
        error = await it.batches.call("GET", path, 404)
        assert error["error"]["code"] == "not_found"
    body = {"input_file_id": "file-1", "endpoint": CHAT, "completion_window": "24h"}
    error = await it.batches.call("POST", "/v1/batches", 400, json=body)
    assert error["error"]["param"] == "input_file_id"


async def test_a_repeat_of_the_request_is_no_second_batch(it: Lab):
    file = await it.batches.upload(chat_lines(3))
    body = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    first, second = await asyncio.gather(
        *(it.batches.call("POST", "/v1/batches", json=body, headers=headers) for _ in range(2))
    )
    assert first["id"] == second["id"]
    await it.batches.ended(first["id"])
    third = await it.batches.call("POST", "/v1/batches", json=body, headers=headers)
    assert (third["id"], third["status"]) == (first["id"], "completed")
    assert it.calls() == 3


# What is wrong with an input: each is told with its code and line, before any call.

GOOD = chat_line("good")
UTF16 = json.dumps(GOOD).encode("utf-16")


@pytest.mark.parametrize(
    ("data", "code", "line"),
    [
        (jsonl(GOOD) + b'{"custom_id": \n', "invalid_json_line", 2),
        (jsonl(GOOD) + b"\n\xff\xfe\n", "invalid_json_line", 3),
        (UTF16, "invalid_json_line", 1),
        (gzip.compress(jsonl(GOOD)), "invalid_json_line", 1),
        (b"[]\n" + jsonl(GOOD), "invalid_json_line", 1),
        (
            jsonl(GOOD, chat_line("long", body={"model": "chat", "text": "x" * 10_000_000})),
            "invalid_json_line",
            2,
        ),
        (jsonl(GOOD, chat_line("b"), GOOD), "duplicate_custom_id", 3),
        (jsonl(GOOD, chat_line("b", url="/v1/embeddings")), "url_mismatch", 2),
        (jsonl(chat_line("a", body={"model": "gpt-9", "messages": []})), "model_not_found", 1),
        (jsonl(GOOD, chat_line("b", body={"model": "embed", "messages": []})), "model_mismatch", 2),
        (jsonl(GOOD, chat_line("b", method="GET")), "invalid_request", 2),
        (jsonl({"custom_id": "a"}), "invalid_request", 1),
        (b"", "empty_batch", None),
        (b"\n\r\n", "empty_batch", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_bad_input_fails_before_any_line_is_paid_for(it: Lab, data, code, line):
    batch = await it.batches.run(data)
    assert batch["status"] == "failed"
    assert batch["failed_at"] is not None
    first = batch["errors"]["data"][0]
    assert (first["code"], first["line"]) == (code, line)
    assert first["message"]
    assert (batch["output_file_id"], batch["error_file_id"]) == (None, None)
    assert batch["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    assert it.model.counts.arrived == 0


async def test_too_many_lines(it: Lab):
    batch = await it.batches.run(chat_lines(100_001))
    [problem] = batch["errors"]["data"]
    assert (problem["code"], problem["line"]) == ("too_many_tasks", 100_001)
    assert it.model.counts.arrived == 0


async def test_every_bad_line_is_told(it: Lab):
    data = b"{\n" + jsonl(GOOD, GOOD, chat_line("x", url="/v1/x"))
    batch = await it.batches.run(data)
    assert [(problem["code"], problem["line"]) for problem in batch["errors"]["data"]] == [
        ("invalid_json_line", 1),
        ("duplicate_custom_id", 3),
        ("url_mismatch", 4),
    ]


async def test_a_wrong_purpose_is_refused_at_once(it: Lab):
    with pytest.raises(AssertionError, match='"param":"purpose"'):
        await it.batches.upload(jsonl(GOOD), purpose="fine-tune")


# Failures.


async def test_failed_lines_are_in_the_error_file_and_can_be_run_again(it: Lab):
    it.model.set(Behaviour(failures=(Status(status=400, probability=0.3),)))
    batch = await it.batches.run(chat_lines(200))
    assert batch["status"] == "completed"
    out, err = await it.batches.results(batch)
    assert out.keys() | err.keys() == ids(200)
    assert 20 < len(err) < 120
    assert {line["response"]["status_code"] for line in err.values()} == {422}
    assert {line["response"]["body"]["error"]["code"] for line in err.values()} == {
        "model_rejected_request"
    }

    it.model.set(Behaviour())
    again = await it.batches.call("POST", f"/v1/batches/{batch['id']}/retry")
    assert again["metadata"] == {"retry_of": batch["id"]}
    again = await it.batches.ended(again["id"])
    out, _ = await it.batches.results(again)
    assert out.keys() == err.keys()
    error = await it.batches.call("POST", f"/v1/batches/{again['id']}/retry", 409)
    assert error["error"]["code"] == "conflict"


async def test_all_lines_failed_and_the_batch_is_completed_all_the_same(it: Lab):
    it.model.set(Behaviour(failures=(Status(status=400),)))
    batch = await it.batches.run(chat_lines(20))
    assert (batch["status"], batch["output_file_id"]) == ("completed", None)
    assert batch["request_counts"] == {"total": 20, "completed": 0, "failed": 20}


async def test_a_deployment_that_fails_for_a_while_costs_no_line(it: Lab):
    it.model.set(Behaviour(failures=(Status(status=503, seconds=3),)))
    batch = await it.batches.run(chat_lines(300))
    assert batch["request_counts"] == {"total": 300, "completed": 300, "failed": 0}
    out, _ = await it.batches.results(batch)
    assert out.keys() == ids(300)


async def test_a_full_deployment_is_waited_for(it: Lab):
    it.slow(50, capacity=3)
    batch = await it.batches.run(chat_lines(150))
    assert batch["request_counts"] == {"total": 150, "completed": 150, "failed": 0}


async def test_a_hopeless_batch_is_stopped_early(it: Lab):
    it.model.set(
        Behaviour(latency=Constant(ms=50), capacity=40, failures=(Status(status=400, after_ms=50),))
    )
    batch = await it.batches.run(chat_lines(6000), max_failed_share=0.5)
    assert batch["status"] == "failed"
    assert batch["errors"]["data"][0]["code"] == "too_many_failures"
    assert it.calls() < 5000
    _, err = await it.batches.results(batch)
    assert err.keys() == ids(6000)
    not_run = [line for line in err.values() if line["response"] is None]
    assert {line["error"]["code"] for line in not_run} == {"batch_failed"}
    assert len(not_run) == 6000 - it.calls()


# Stopped.


async def test_a_cancelled_batch_ends_in_time_with_what_it_has(it: Lab):
    it.slow(300, capacity=30)
    created = await it.batches.begin(chat_lines(3000))
    await it.batches.until(created["id"], lambda now: now["request_counts"]["completed"] > 50)
    began = time.monotonic()
    cancelling = await it.batches.cancel(created["id"])
    assert cancelling["status"] == "cancelling"
    assert cancelling["cancelling_at"] is not None
    batch = await it.batches.ended(created["id"])
    seconds = time.monotonic() - began
    print(f"a batch of 3,000 lines was cancelled in {seconds:.1f} s")
    assert batch["status"] == "cancelled"
    assert batch["cancelled_at"] - batch["cancelling_at"] <= MOST_CANCELLING_SECONDS
    out, err = await it.batches.results(batch)
    assert len(out) > 50
    assert out.keys() | err.keys() == ids(3000)
    assert {line["error"]["code"] for line in err.values()} == {"batch_cancelled"}
    calls = it.calls()
    assert calls == len(out), "what was under way had the time to end"
    await asyncio.sleep(1)
    assert it.calls() == calls, "nothing goes on"
    assert (await it.batches.cancel(created["id"]))["status"] == "cancelled"


async def test_a_batch_that_waits_for_capacity_is_cancelled_too(it: Lab):
    """Its lanes sleep on durable timers."""
    it.model.set(Behaviour(capacity=0))
    created = await it.batches.begin(chat_lines(600))
    while not it.model.counts.refused:
        await asyncio.sleep(0.05)
    await it.batches.cancel(created["id"])
    batch = await it.batches.ended(created["id"])
    assert batch["status"] == "cancelled"
    assert batch["cancelled_at"] - batch["cancelling_at"] <= MOST_CANCELLING_SECONDS
    assert batch["request_counts"] == {"total": 600, "completed": 0, "failed": 600}


async def test_a_batch_that_has_ended_cannot_be_cancelled(it: Lab):
    batch = await it.batches.run(chat_lines(1))
    error = await it.batches.call("POST", f"/v1/batches/{batch['id']}/cancel", 409)
    assert error["error"]["code"] == "conflict"


async def test_an_expired_batch_keeps_what_has_ended_and_names_the_rest(it: Lab):
    """Its day is made short where it is kept, before it is started by hand."""
    it.slow(300, capacity=30)
    file = await it.batches.upload(chat_lines(1500))
    now = datetime.now(UTC)
    batch = AcceptedBatch(
        id=new_batch_id(now),
        tenant="default",
        request=BatchRequest(
            input_file_id=file["id"], endpoint="/v1/chat/completions", completion_window="24h"
        ),
        created_at=now,
        expires_at=now + timedelta(seconds=7),
    )
    ticket = BatchTicket(id=batch.id, tenant=batch.tenant, expires_at=batch.expires_at)
    async with StorageAccount(connection_string=it.stack.blob).open() as service:
        await BatchStore(Container(lambda: service, "sluice-files")).accept(batch)
    start = f"/runtime/webhooks/durabletask/orchestrators/{BATCH_ORCHESTRATOR}/{batch.id}"
    await it.batches.call("POST", start, 202, json=ticket.model_dump(mode="json"))

    ended = await it.batches.ended(batch.id)
    assert ended["status"] == "expired"
    assert ended["expired_at"] >= ended["expires_at"]
    out, err = await it.batches.results(ended)
    assert out
    assert out.keys() | err.keys() == ids(1500)
    assert {line["error"]["code"] for line in err.values()} == {"batch_expired"}
    again = await it.batches.call("POST", f"/v1/batches/{ended['id']}/retry")
    it.slow(1)
    retried, _ = await it.batches.results(await it.batches.ended(again["id"]))
    assert retried.keys() == err.keys()


async def test_a_batch_whose_input_is_deleted_ends_and_says_why(it: Lab):
    it.slow(400, capacity=60)
    created = await it.batches.begin(chat_lines(4100))
    await it.batches.until(created["id"], lambda now: now["request_counts"]["completed"] > 0)
    await it.batches.call("DELETE", f"/v1/files/{created['input_file_id']}")
    it.slow(1)
    batch = await it.batches.ended(created["id"])
    assert batch["status"] == "failed"
    assert "deleted" in batch["errors"]["data"][0]["message"]
    out, _ = await it.batches.results(batch)
    assert out


# Several at a time.


async def test_batches_share_a_deployment_by_turns(it: Lab):
    """A small batch does not wait for the end of a large one that came before."""
    it.slow(40, capacity=8)
    large = await it.batches.begin(chat_lines(8000))
    await it.batches.until(large["id"], lambda now: now["request_counts"]["completed"] > 20)
    small = await it.batches.run(chat_lines(60))
    assert small["status"] == "completed"
    now = await it.batches.get(large["id"])
    assert now["status"] == "in_progress"
    assert now["request_counts"]["completed"] < 4000
    await it.batches.cancel(large["id"])
    await it.batches.ended(large["id"])


async def test_real_time_goes_before_batch(it: Lab):
    it.slow(40, capacity=8)
    large = await it.batches.begin(chat_lines(8000))
    await it.batches.until(large["id"], lambda now: now["request_counts"]["completed"] > 20)
    body = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}
    answers = Counter()
    for _ in range(20):
        async with it.batches.api.post(CHAT, json=body) as response:
            answers[response.status] += 1
    # One that is refused has met the limit of all, and is told when to come again.
    assert answers[200] >= 15, answers
    assert (await it.batches.get(large["id"]))["status"] == "in_progress"
    await it.batches.cancel(large["id"])
    await it.batches.ended(large["id"])


async def test_the_history_of_a_batch_is_short(it: Lab):
    batch = await it.batches.run(chat_lines(1500))
    sizes = {}
    for instance in [batch["id"], *(f"{batch['id']}-lane-{lane}" for lane in range(3))]:
        async with it.batches.api.get(HISTORY.format(instance)) as response:
            assert response.status == 200
            sizes[instance] = len(await response.read())
    print(
        f"histories of a batch of 1,500 lines: {sizes[batch['id']]:,} bytes,"
        f" its lanes {max(sizes.values()):,} at most"
    )
    assert max(sizes.values()) < 100_000
