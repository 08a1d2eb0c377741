"""`sluice batches`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import aiohttp
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.service import call, facts, fail, get, listing, read, run, show, tell, time
from contracts.batches import BatchList, BatchObject, FileObject
from devhost.service import ask, download

app = typer.Typer(help="Files of requests, run as one.", no_args_is_help=True)

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
WAIT_SECONDS = 2
"""Between two looks at a batch; the service answers at once when it ends."""

BatchId = Annotated[str, typer.Argument(metavar="ID", help="Of the batch.")]
InputFile = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="A JSONL file.")
]
Endpoint = Annotated[str, typer.Option(help="What each line asks.")]
Watch = Annotated[bool, typer.Option("--watch", help="Wait for its end.")]


@app.command()
def upload(ctx: typer.Context, file: InputFile) -> None:
    """Upload the input of a batch."""
    text = run(ctx, lambda session: _upload(session, file))
    show(ctx, text, lambda: read(FileObject, text).id)


@app.command("run")
def run_batch(
    ctx: typer.Context,
    file: InputFile,
    endpoint: Endpoint = "/v1/chat/completions",
    watch: Watch = False,
) -> None:
    """Upload a file and run it. With --watch the status is 0 only if no line fails."""

    async def begin(session: aiohttp.ClientSession) -> str:
        uploaded = read(FileObject, await _upload(session, file))
        body: dict[str, Any] = {"input_file_id": uploaded.id, "endpoint": endpoint}
        return await ask(session, "POST", "/v1/batches", body | {"completion_window": "24h"})

    text = run(ctx, begin)
    if watch:
        follow(ctx, read(BatchObject, text).id)
    else:
        show(ctx, text, lambda: read(BatchObject, text).id)


@app.command("list")
def list_batches(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    after: Annotated[str | None, typer.Option(help="The last id of a former page.")] = None,
) -> None:
    """Your tenant's batches, newest first."""
    text = get(ctx, "/v1/batches", {"limit": limit, "after": after})
    page = read(BatchList, text)
    columns = ["id", "status", "endpoint", "created", "lines", "completed", "failed"]
    rows: list[list[object]] = [
        [
            each.id,
            each.status,
            each.endpoint,
            time(each.created_at),
            each.request_counts.total,
            each.request_counts.completed,
            each.request_counts.failed,
        ]
        for each in page.data
    ]
    show(ctx, text, lambda: listing(columns, rows, numbers=3))
    if page.has_more:
        tell(f"There are more: --after {page.last_id}")


@app.command("show")
def show_batch(ctx: typer.Context, batch_id: BatchId) -> None:
    """A batch, and what is wrong with its input."""
    text = get(ctx, _path(batch_id))
    show(ctx, text, lambda: _facts(read(BatchObject, text)))


@app.command()
def watch(ctx: typer.Context, batch_id: BatchId) -> None:
    """Wait for a batch's end; the status is 0 only if it completed and no line failed."""
    follow(ctx, batch_id)


@app.command()
def cancel(ctx: typer.Context, batch_id: BatchId) -> None:
    """Cancel a batch; the lines that are done are kept."""
    text = call(ctx, "POST", f"{_path(batch_id)}/cancel")
    show(ctx, text, lambda: read(BatchObject, text).status)


@app.command()
def retry(ctx: typer.Context, batch_id: BatchId, watch: Watch = False) -> None:
    """Run the failed lines of an ended batch again, as a new batch."""
    text = call(ctx, "POST", f"{_path(batch_id)}/retry")
    if watch:
        follow(ctx, read(BatchObject, text).id)
    else:
        show(ctx, text, lambda: read(BatchObject, text).id)


@app.command("download")
def download_batch(
    ctx: typer.Context,
    batch_id: BatchId,
    output: Annotated[Path | None, typer.Option(help="For lines that were answered.")] = None,
    errors: Annotated[Path | None, typer.Option(help="For lines that failed.")] = None,
) -> None:
    """Write a batch's output and error files; without options to ID.out.jsonl and ID.err.jsonl."""
    batch = read(BatchObject, get(ctx, _path(batch_id)))
    if batch.status not in ENDED:
        fail(f"The batch has not ended: it is {batch.status}.")
    both = output is None and errors is None
    for file_id, path, name in (
        (batch.output_file_id, output, f"{batch.id}.out.jsonl"),
        (batch.error_file_id, errors, f"{batch.id}.err.jsonl"),
    ):
        if file_id is not None and (both or path is not None):
            _write(ctx, file_id, path or Path(name))


def _write(ctx: typer.Context, file_id: str, path: Path) -> None:
    source = f"/v1/files/{quote(file_id, safe='')}/content"
    try:
        size = run(ctx, lambda session: download(session, source, path))
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}")
    tell(f"{path}: {size:,} bytes")


async def _upload(session: aiohttp.ClientSession, file: Path) -> str:
    with file.open("rb") as content:
        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", content, filename=file.name)
        return await ask(session, "POST", "/v1/files", form)


def follow(ctx: typer.Context, batch_id: str) -> None:
    """A progress bar until the batch has ended, then the batch."""
    headers = {"Prefer": f"wait={WAIT_SECONDS}"}

    async def until_end(session: aiohttp.ClientSession) -> str:
        with _progress() as shown:
            bar = shown.add_task(batch_id, total=None, failed=0)
            while True:
                text = await ask(session, "GET", _path(batch_id), headers=headers)
                batch = read(BatchObject, text)
                counts = batch.request_counts
                shown.update(
                    bar,
                    description=batch.status,
                    total=counts.total or None,
                    completed=counts.completed + counts.failed,
                    failed=counts.failed,
                )
                if batch.status in ENDED:
                    return text

    text = run(ctx, until_end)
    batch = read(BatchObject, text)
    show(ctx, text, lambda: _facts(batch))
    if batch.status != "completed" or batch.request_counts.failed:
        raise typer.Exit(1)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeElapsedColumn(),
        console=Console(stderr=True),  # the bar is no part of the answer
        disable=not sys.stderr.isatty(),
    )


def _facts(batch: BatchObject) -> Table:
    counts, problems = batch.request_counts, batch.errors.data if batch.errors else []
    rows: dict[str, object] = {
        "id": batch.id,
        "status": batch.status,
        "endpoint": batch.endpoint,
        "lines": f"{counts.total:,}, {counts.completed:,} completed, {counts.failed:,} failed",
        "created": time(batch.created_at),
        "expires": time(batch.expires_at),
        "output": batch.output_file_id,
        "errors": batch.error_file_id,
    }
    for problem in problems:
        rows[f"line {problem.line}" if problem.line else problem.code] = problem.message
    return facts(rows)


def _path(batch_id: str) -> str:
    return f"/v1/batches/{quote(batch_id, safe='')}"
