"""`sluice jobs`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import aiohttp
import typer
from rich.table import Table

from cli.service import call, facts, fail, get, listing, path_of, read, run, show, tell, time
from contracts.jobs import JobList, JobRecord
from contracts.states import JobStatus
from devhost.service import ask

app = typer.Typer(help="Submit jobs, and see what became of them.", no_args_is_help=True)

POLL_SECONDS = 1.0

JobId = Annotated[str, typer.Argument(metavar="ID", help="Of the job.")]
Watch = Annotated[bool, typer.Option("--watch", help="Wait for its end.")]


@app.command()
def submit(
    ctx: typer.Context,
    flow: Annotated[str, typer.Argument(help="From GET /v1/flows.")],
    given: Annotated[
        str, typer.Argument(metavar="INPUT", help="JSON, @FILE, or - for standard input.")
    ],
    model: Annotated[str | None, typer.Option(help="In place of the flow's own.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key again is the same job.")
    ] = None,
    watch: Watch = False,
) -> None:
    """Submit a job to a flow. With --watch the status is 0 only if it succeeds."""
    body: dict[str, Any] = {"flow": flow, "input": _json(given)}
    if model is not None:
        body["model"] = model
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    text = call(ctx, "POST", "/v1/jobs", body, headers)
    if watch:
        follow(ctx, read(JobRecord, text).id)
    else:
        show(ctx, text, lambda: read(JobRecord, text).id)


@app.command("list")
def list_jobs(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    after: Annotated[str | None, typer.Option(help="A former page's next_after.")] = None,
) -> None:
    """Your tenant's jobs, newest first."""
    text = get(ctx, "/v1/jobs", {"limit": limit, "after": after})
    page = read(JobList, text)
    rows: list[list[object]] = [
        [each.id, each.status, each.flow, time(each.created_at), time(each.ended_at)]
        for each in page.data
    ]
    show(ctx, text, lambda: listing(["id", "status", "flow", "created", "ended"], rows))
    if page.has_more:
        tell(f"There are more: --after {page.next_after}")


@app.command("show")
def show_job(ctx: typer.Context, job_id: JobId) -> None:
    """A job's state, and its result once it has one."""
    text = get(ctx, _path(job_id))
    show(ctx, text, lambda: _facts(read(JobRecord, text)))


@app.command()
def watch(ctx: typer.Context, job_id: JobId) -> None:
    """Wait for a job's end; the status is 0 only if it succeeded."""
    follow(ctx, job_id)


@app.command()
def cancel(ctx: typer.Context, job_id: JobId) -> None:
    """Cancel a job that has not ended."""
    text = call(ctx, "DELETE", _path(job_id))
    show(ctx, text, lambda: str(read(JobRecord, text).status))


def follow(ctx: typer.Context, job_id: str) -> None:
    """Show the job once it has ended, and on the way what it waits for."""

    async def until_end(session: aiohttp.ClientSession) -> str:
        said = ""
        while True:
            text = await ask(session, "GET", path_of(_path(job_id), None))
            record = read(JobRecord, text)
            if record.status.ended:
                return text
            line = f"{record.id} {record.status}"
            if record.progress.reason is not None:
                line += f": {record.progress.reason}"
            if line != said:
                tell(said := line)
            await asyncio.sleep(POLL_SECONDS)

    text = run(ctx, until_end)
    record = read(JobRecord, text)
    show(ctx, text, lambda: _facts(record))
    if record.status is not JobStatus.SUCCEEDED:
        raise typer.Exit(1)


def _facts(record: JobRecord) -> Table | str:
    if record.result is not None:
        tell(f"{record.id} {record.status}")
        return json.dumps(record.result, indent=2, ensure_ascii=False)
    return facts(
        {
            "id": record.id,
            "status": record.status,
            "flow": record.flow,
            "model": record.model,
            "created": time(record.created_at),
            "started": time(record.started_at),
            "ended": time(record.ended_at),
            "attempts": record.progress.attempts,
            "waits for": record.progress.reason,
            "resumes": time(record.progress.resumes_at),
            "error": record.error.detail if record.error else None,
            "result": record.result_url,
        }
    )


def _json(given: str) -> Any:
    try:
        if given == "-":
            return json.load(sys.stdin)
        if given.startswith("@"):
            return json.loads(Path(given[1:]).read_text(encoding="utf-8"))
        return json.loads(given)
    except OSError as error:
        fail(f"INPUT cannot be read: {error.strerror}")
    except ValueError as error:
        fail(f"INPUT is no JSON: {error}")


def _path(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}"
