"""A small app that serves HTTP as streams, by the vendor's web extension."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import azure.functions as func
from azurefunctions.extensions.http.fastapi import (
    JSONResponse,
    PlainTextResponse,
    Request,
    Response,
    StreamingResponse,
)

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

RUNNING = {"streams": 0, "waits": 0}
GO_ON = asyncio.Event()


@app.route(route="echo/{name:alpha}/{*rest}", methods=["GET", "POST"])
async def echo(req: Request, context: func.Context) -> Response:
    seen = {
        "method": req.method,
        "url": str(req.url),
        "values": req.path_params,
        "query": req.query_params.multi_items(),
        "tags": req.headers.getlist("x-tag"),
        "invocation": req.headers["x-ms-invocation-id"] == context.invocation_id,
        "body": (await req.body()).decode(),
    }
    response = JSONResponse(seen, status_code=201)
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


@app.route(route="digest", methods=["POST"])
async def digest(req: Request) -> JSONResponse:
    """What came of the body, which is not kept."""
    found, largest, pieces = hashlib.sha256(), 0, 0
    async for piece in req.stream():
        found.update(piece)
        largest, pieces = max(largest, len(piece)), pieces + 1
    return JSONResponse({"sha256": found.hexdigest(), "largest": largest, "pieces": pieces})


@app.route(route="words")
async def words(req: Request) -> StreamingResponse:
    """A word; a second one once POST /go-on was asked."""

    async def two() -> AsyncIterator[str]:
        RUNNING["streams"] += 1
        try:
            yield "one "
            await GO_ON.wait()
            yield "two"
        finally:
            RUNNING["streams"] -= 1

    GO_ON.clear()
    return StreamingResponse(two(), media_type="text/plain")


@app.route(route="wait")
async def wait(req: Request) -> PlainTextResponse:
    """Answers once POST /go-on was asked."""
    RUNNING["waits"] += 1
    GO_ON.clear()
    await GO_ON.wait()
    RUNNING["waits"] -= 1
    return PlainTextResponse("waited")


@app.route(route="go-on", methods=["POST"])
async def go_on(req: Request) -> JSONResponse:
    GO_ON.set()
    return JSONResponse(RUNNING)


@app.route(route="running")
async def running(req: Request) -> JSONResponse:
    return JSONResponse(RUNNING)


@app.route(route="broken")
async def broken(req: Request) -> Response:
    raise RuntimeError("a secret of the inside")


@app.route(route="broken-off")
async def broken_off(req: Request) -> StreamingResponse:
    async def pieces() -> AsyncIterator[str]:
        yield "so far"
        raise RuntimeError("and no further")

    return StreamingResponse(pieces())


@app.route(route="nothing")
async def nothing(req: Request) -> Response:
    return None  # type: ignore[return-value]


@app.route(route="plain/{kind}")
def plain(req: Request) -> dict:
    """Not a response: the extension makes one."""
    return {"kind": req.path_params["kind"]}
