"""A job whose endpoint refuses, fails or keeps silent: who waits, how long, and how it ends."""

from __future__ import annotations

import uuid

import pytest

from tests.integration.jobs_client import ACCEPTED, ended, look, submit, until


async def start(api, answers: list[int], **fields) -> tuple[str, str]:
    script = uuid.uuid4().hex
    given = {"script": script, "answers": answers}
    status, _, record = await submit(api, "scripted", given, **fields)
    assert status in ACCEPTED, record
    return record["id"], script


async def test_a_throttled_job_waits_for_capacity_and_then_succeeds(api, scripted):
    job_id, script = await start(api, [429, 429, 200])

    waiting = await until(api, job_id, {"waiting_for_capacity"})
    assert waiting["progress"]["resumes_at"] is not None
    assert "scripted" in waiting["progress"]["reason"]
    record = await ended(api, job_id)
    assert record["status"] == "succeeded"
    assert [attempt["outcome"] for attempt in record["attempts"]] == [
        "throttled",
        "throttled",
        "answered",
    ]
    assert record["progress"]["waits"] == 2
    assert scripted.calls[script] == 3, "no call is made before the endpoint's Retry-After"


async def test_a_failed_call_is_tried_again_after_a_back_off(api, scripted):
    job_id, script = await start(api, [503, 200])
    record = await ended(api, job_id)
    assert record["status"] == "succeeded"
    assert [attempt["status"] for attempt in record["attempts"]] == [503, 200]
    assert scripted.calls[script] == 2


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (400, "model_rejected_request"),
        (424, "model_rejected_request"),
        (401, "endpoint_unusable"),
        (404, "endpoint_unusable"),
    ],
)
async def test_what_no_repeat_can_mend_ends_the_job_at_once(api, scripted, answer, code):
    job_id, script = await start(api, [answer])
    record = await ended(api, job_id)
    assert record["status"] == "failed"
    assert record["error"]["code"] == code
    assert scripted.calls[script] == 1


async def test_an_unknown_outcome_is_repeated_unless_the_job_is_at_most_once(api, scripted):
    once, once_script = await start(api, [408, 200], execution="at_most_once")
    again, again_script = await start(api, [408, 200])

    record = await ended(api, once)
    assert record["status"] == "failed"
    assert record["error"]["code"] == "outcome_unknown"
    assert scripted.calls[once_script] == 1
    assert (await ended(api, again))["status"] == "succeeded"
    assert scripted.calls[again_script] == 2


async def test_a_waiting_job_expires_at_its_deadline(api, scripted):
    job_id, _ = await start(api, [429], deadline="PT4S")
    record = await ended(api, job_id)
    assert record["status"] == "expired"
    assert record["attempts"]


async def test_a_waiting_job_can_be_cancelled(api, scripted):
    job_id, script = await start(api, [429])
    await until(api, job_id, {"waiting_for_capacity"})
    async with api.delete(f"/v1/jobs/{job_id}") as response:
        assert response.status in ACCEPTED
    assert (await ended(api, job_id))["status"] == "cancelled"
    calls = scripted.calls[script]
    assert (await look(api, job_id))["status"] == "cancelled"
    assert scripted.calls[script] == calls
