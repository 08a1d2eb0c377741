"""An OTLP collector over HTTP, and a model that tells which headers it was sent."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

ANSWER = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "a confidential answer"},
        }
    ],
    "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14},
}


@dataclass(frozen=True)
class SeenSpan:
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    failed: bool
    attributes: dict[str, Any]


@dataclass(frozen=True)
class SeenLog:
    text: str
    trace_id: str
    attributes: dict[str, Any]


@dataclass
class Collector:
    url: str = ""
    spans: list[SeenSpan] = field(default_factory=list)
    points: dict[str, list[tuple[dict[str, Any], Any]]] = field(default_factory=dict)
    """Of each metric the latest: attributes, and the value, or (count, sum)."""
    logs: list[SeenLog] = field(default_factory=list)
    model_headers: list[dict[str, str]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    """All that was exported, as it came."""

    def named(self, name: str, trace_id: str) -> list[SeenSpan]:
        return [span for span in self.spans if span.name == name and span.trace_id == trace_id]

    async def until(self, condition: Callable[[], bool], within: float = 60.0) -> None:
        limit = time.monotonic() + within
        while not condition():
            assert time.monotonic() < limit, [(span.name, span.trace_id) for span in self.spans]
            await asyncio.sleep(0.1)

    async def traces(self, request: web.Request) -> web.Response:
        sent = ExportTraceServiceRequest.FromString(await self._body(request))
        for resource in sent.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        SeenSpan(
                            span.name,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            span.status.code == 2,
                            {each.key: _plain(each.value) for each in span.attributes},
                        )
                    )
        return web.Response(body=ExportTraceServiceResponse().SerializeToString())

    async def metrics(self, request: web.Request) -> web.Response:
        sent = ExportMetricsServiceRequest.FromString(await self._body(request))
        for resource in sent.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    self.points[metric.name] = list(_points(metric))
        return web.Response(body=ExportMetricsServiceResponse().SerializeToString())

    async def records(self, request: web.Request) -> web.Response:
        sent = ExportLogsServiceRequest.FromString(await self._body(request))
        for resource in sent.resource_logs:
            for scope in resource.scope_logs:
                self.logs += [
                    SeenLog(
                        record.body.string_value,
                        record.trace_id.hex(),
                        {each.key: _plain(each.value) for each in record.attributes},
                    )
                    for record in scope.log_records
                ]
        return web.Response(body=ExportLogsServiceResponse().SerializeToString())

    async def model(self, request: web.Request) -> web.Response:
        self.model_headers.append(dict(request.headers))
        return web.json_response(ANSWER)

    async def _body(self, request: web.Request) -> bytes:
        body = await request.read()
        plain = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        self.raw.append(plain)
        return plain


def _points(metric: Any) -> Any:
    kind = metric.WhichOneof("data")
    for point in getattr(metric, kind).data_points:
        attributes = {each.key: _plain(each.value) for each in point.attributes}
        if kind == "histogram":
            yield attributes, (point.count, point.sum)
        else:
            yield attributes, point.as_int or point.as_double


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(each) for each in value.array_value.values]
    return getattr(value, str(kind))


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    seen = Collector()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/traces", seen.traces)
    app.router.add_post("/v1/metrics", seen.metrics)
    app.router.add_post("/v1/logs", seen.records)
    app.router.add_post("/model/v1/chat/completions", seen.model)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    seen.url = f"http://{host}:{port}"
    try:
        yield seen
    finally:
        await runner.cleanup()
