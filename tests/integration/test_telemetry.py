"""One trace from the door over the model to the reply, in a collector; and figures by value."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from devhost.stack.plan import Options
from devhost.stack.running import stack
from tests.integration.jobs_client import ended, submit
from tests.integration.otlp_collector import Collector, collector
from tests.integration.queues_client import Producer, producer

# The SDK leaves its sockets' writers to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

MODELS = """
models:
  chat:
    deployments:
      - name: chat-blue
        protocol: openai
        url: {url}/model/v1
        model: m
        version: "2"
        price: {{input_per_million_tokens: 1, output_per_million_tokens: 3, currency: EUR}}
"""
QUESTION = {"model": "chat", "messages": [{"role": "user", "content": "a confidential question"}]}
JOB = {"flow": "chat.completions", "model": "chat", "input": {"messages": QUESTION["messages"]}}


@dataclass
class Watched:
    """The app, and where it exports to."""

    seen: Collector
    api: aiohttp.ClientSession
    queue: Producer


@pytest.fixture(scope="module")
async def it(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    folder: Path = tmp_path_factory.mktemp("telemetry")
    async with collector() as seen:
        deployments = folder / "deployments.yaml"
        deployments.write_text(MODELS.format(url=seen.url))
        parts = frozenset({"azurite", "hub", "service_bus", "host"})
        with pytest.MonkeyPatch.context() as settings:
            settings.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", seen.url)
            settings.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
            settings.setenv("OTEL_BLRP_SCHEDULE_DELAY", "200")
            settings.setenv("OTEL_METRIC_EXPORT_INTERVAL", "500")
            async with (
                stack(Options(parts=parts, deployments=deployments)) as running,
                aiohttp.ClientSession(
                    running.http, headers={"x-functions-key": running.api_key}
                ) as api,
                producer(running.service_bus) as queue,
            ):
                yield Watched(seen, api, queue)


def trace(number: int) -> tuple[str, dict[str, str]]:
    """A trace id, and the header by which a caller joins it."""
    trace_id = f"{number:032x}"
    return trace_id, {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}


async def test_a_real_time_call_is_one_trace_to_the_model(it: Watched):
    trace_id, headers = trace(0xA1)
    async with it.api.post("/v1/chat/completions", json=QUESTION, headers=headers) as response:
        assert response.status == 200
    await it.seen.until(lambda: len(it.seen.named("chat completions", trace_id)) == 1)
    await it.seen.until(lambda: len(it.seen.named("chat chat", trace_id)) == 1)
    [door], [call] = (
        it.seen.named("chat completions", trace_id),
        it.seen.named("chat chat", trace_id),
    )
    assert (door.parent_id, call.parent_id) == ("00f067aa0ba902b7", door.span_id)
    assert door.attributes["http.response.status_code"] == 200
    assert call.attributes["gen_ai.usage.input_tokens"] == 11
    assert call.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    [sent] = [
        header for each in it.seen.model_headers if trace_id in (header := each["traceparent"])
    ]
    assert sent.split("-")[2] == call.span_id


async def test_a_job_is_one_trace_from_the_message_over_the_model_to_the_reply(it: Watched):
    trace_id, properties = trace(0xB2)
    sent = await it.queue.send(JOB, correlation_id="c-1", application_properties=properties)
    assert sent
    record = await it.queue.reply("c-1")
    assert record["status"] == "succeeded"
    names = ["receive job", "run job", "flow chat.completions", "chat chat", "publish reply"]
    await it.seen.until(lambda: all(it.seen.named(name, trace_id) for name in names))
    door, run, flow, call, reply = (it.seen.named(name, trace_id)[0] for name in names)
    assert door.parent_id == "00f067aa0ba902b7"
    assert (run.parent_id, reply.parent_id) == (door.span_id, door.span_id)
    assert (flow.parent_id, call.parent_id) == (run.span_id, flow.span_id)
    assert run.attributes["sluice.job_id"] == record["id"]
    [message] = [each for each in it.queue.messages if each.correlation_id == "c-1"]
    told = message.application_properties[b"traceparent"].decode()
    assert told.split("-")[1:3] == [trace_id, reply.span_id]
    assert any(trace_id in each["traceparent"] for each in it.seen.model_headers)


async def test_figures_after_a_known_run(it: Watched):
    def calls() -> float:
        points = it.seen.points.get("sluice.model.calls", [])
        return sum(
            value for attributes, value in points if attributes["sluice.outcome"] == "answered"
        )

    before = len(it.seen.model_headers)
    await it.seen.until(lambda: calls() == before)
    for _ in range(5):
        async with it.api.post("/v1/chat/completions", json=QUESTION) as response:
            assert response.status == 200
    await it.seen.until(lambda: calls() == before + 5)
    [(attributes, (count, seconds))] = it.seen.points["gen_ai.client.operation.duration"]
    assert attributes["gen_ai.request.model"] == "chat"
    assert count == before + 5
    assert seconds > 0
    tokens = {
        attributes["gen_ai.token.type"]: value
        for attributes, value in it.seen.points["gen_ai.client.token.usage"]
    }
    assert tokens == {
        "input": (before + 5, 11 * (before + 5)),
        "output": (before + 5, 3 * (before + 5)),
    }
    [(_, cost)] = it.seen.points["sluice.cost"]
    assert cost == pytest.approx((11 * 1 + 3 * 3) * (before + 5) / 1e6)


async def test_jobs_and_deployments_are_figures_too(it: Watched):
    def jobs(event: str) -> float:
        points = it.seen.points.get("sluice.jobs", [])
        return sum(value for attributes, value in points if attributes["sluice.event"] == event)

    await it.seen.until(lambda: jobs("accepted") == jobs("succeeded") > 0)
    before = jobs("accepted")
    for _ in range(3):
        _, _, job = await submit(it.api, **JOB)
        assert (await ended(it.api, job["id"]))["status"] == "succeeded"
    await it.seen.until(lambda: jobs("accepted") == jobs("succeeded") == before + 3)
    [(attributes, (count, _))] = it.seen.points["sluice.job.wait"]
    assert (attributes["sluice.flow"], count) == ("chat.completions", before + 3)
    [(_, (ages, _))] = it.seen.points["sluice.message.age"]
    assert ages == 1  # the message of the test above
    [(deployment, limit)] = it.seen.points["sluice.deployment.limit"]
    assert deployment == {"gen_ai.request.model": "chat", "sluice.deployment": "chat-blue"}
    assert limit > 0
    assert it.seen.points["sluice.deployment.breaker"][0][1] == 0


async def test_the_log_tells_of_which_trace_it_is(it: Watched):
    trace_id, properties = trace(0xD4)
    await it.queue.send(b"no job", correlation_id="c-9", application_properties=properties)
    assert (await it.queue.reply("c-9"))["status"] == "rejected"
    await it.seen.until(lambda: any(each.trace_id == trace_id for each in it.seen.logs))
    [told] = [each for each in it.seen.logs if each.trace_id == trace_id]
    assert told.text == "message rejected: invalid_request"


async def test_a_refused_request_is_no_failure_of_the_door(it: Watched):
    trace_id, headers = trace(0xC3)
    async with it.api.post("/v1/jobs", json={"flow": "none"}, headers=headers) as response:
        assert response.status in (400, 404)
    await it.seen.until(lambda: bool(it.seen.named("submit job", trace_id)))
    [door] = it.seen.named("submit job", trace_id)
    assert not door.failed


async def test_nothing_that_people_wrote_is_exported(it: Watched):
    status, _, job = await submit(it.api, **JOB)
    assert status in (200, 202)
    await ended(it.api, job["id"])
    await it.seen.until(
        lambda: any(
            span.attributes.get("sluice.job_id") == job["id"] and span.name == "run job"
            for span in it.seen.spans
        )
    )
    assert it.seen.raw
    assert not any(b"confidential" in each for each in it.seen.raw)
