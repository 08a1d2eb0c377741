"""`sluice queues`."""

from __future__ import annotations

from functools import partial
from typing import Annotated
from urllib.parse import quote

import typer

from cli.service import (
    call,
    fail,
    get,
    listing,
    path_of,
    read,
    say,
    service_of,
    show,
    tell,
    time,
)
from contracts.queues import MessagePage, Purged, QueuedMessage, QueueList, Resubmission, Waiting

app = typer.Typer(help="What waits in Service Bus, and what was set aside.", no_args_is_help=True)

Queue = Annotated[str, typer.Argument(help="Its name, from `queues list`.")]
Sequence = Annotated[list[int], typer.Argument(help="Numbers of messages, from `queues peek`.")]
DeadLetters = Annotated[
    bool, typer.Option("--dead-letters", "-d", help="Of its dead letters instead.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command("list")
def list_queues(ctx: typer.Context) -> None:
    """Queues, with how much waits in each."""
    text = get(ctx, "/v1/queues")
    rows: list[list[object]] = [
        [
            each.name,
            each.problem,
            _oldest(each.waiting),
            _count(each.waiting),
            _count(each.dead_letters),
        ]
        for each in read(QueueList, text).data
    ]
    columns = ["queue", "problem", "oldest", "waiting", "dead letters"]
    show(ctx, text, lambda: listing(columns, rows, numbers=2))


@app.command()
def peek(
    ctx: typer.Context,
    queue: Queue,
    dead_letters: DeadLetters = False,
    body: Annotated[bool, typer.Option("--body", help="With bodies; it is audited.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    begin: Annotated[int, typer.Option("--from", min=0, help="The first number.")] = 0,
) -> None:
    """Messages that wait, without taking them."""
    query = {"limit": limit, "from": begin, **_flags(dead_letters=dead_letters, body=body)}
    text = get(ctx, f"{_path(queue)}/messages", query)
    page = read(MessagePage, text)
    columns = ["number", "message", "enqueued", "why", "deliveries", "bytes"]
    rows: list[list[object]] = [
        [
            each.sequence,
            each.message_id,
            time(each.enqueued_at),
            _why(each),
            each.delivery_count,
            each.body_bytes,
        ]
        for each in page.data
    ]
    show(ctx, text, lambda: listing(columns, rows, numbers=2))
    if body and not service_of(ctx).as_json:
        for each in page.data:
            say(f"{each.sequence}: {each.body if each.body is not None else each.body_base64}")
    if page.has_more:
        tell(f"There are more: --from {page.next_from}")


@app.command()
def resubmit(
    ctx: typer.Context, queue: Queue, numbers: Sequence, dead_letters: DeadLetters = False
) -> None:
    """Start what rejected or dead-lettered messages ask for. Each that cannot be stays."""
    failed = 0
    for number in sorted(numbers):  # the oldest first: those before a message are passed over
        path = path_of(
            f"{_path(queue)}/messages/{number}/resubmit", _flags(dead_letters=dead_letters)
        )
        try:
            text = call(ctx, "POST", path)
        except typer.Exit:  # the next may do
            failed += 1
            continue
        told = read(Resubmission, text)
        show(ctx, text, partial(_resubmitted, told))
    if failed:
        raise typer.Exit(1)


@app.command()
def delete(
    ctx: typer.Context,
    queue: Queue,
    number: Annotated[int, typer.Argument(help="Of the message, from `queues peek`.")],
    dead_letters: DeadLetters = False,
) -> None:
    """Delete one rejected or dead-lettered message."""
    flags = _flags(dead_letters=dead_letters)
    text = call(ctx, "DELETE", path_of(f"{_path(queue)}/messages/{number}", flags))
    show(ctx, text, lambda: f"{number}: deleted")


@app.command()
def purge(
    ctx: typer.Context, queue: Queue, dead_letters: DeadLetters = False, yes: Yes = False
) -> None:
    """Delete all rejected messages, or all dead letters of a queue."""
    what = f"the dead letters of {queue}" if dead_letters else f"all messages of {queue}"
    if not yes and not typer.confirm(f"Delete {what}?", err=True):
        fail("Nothing was deleted.")
    path = path_of(f"{_path(queue)}/purge", _flags(dead_letters=dead_letters))
    more = True
    while more:
        text = call(ctx, "POST", path, {"confirm": queue})
        purged = read(Purged, text)
        show(ctx, text, partial("{} messages deleted".format, purged.purged))
        more = purged.more and purged.purged > 0


def _resubmitted(told: Resubmission) -> str:
    return f"{told.sequence}: {told.started or 'reply'} {told.id or told.sent_to}"


def _flags(**given: bool) -> dict[str, object]:
    return {name: "true" for name, value in given.items() if value}


def _count(waiting: Waiting | None) -> str | None:
    if waiting is None:
        return None
    return f"{waiting.messages:,}{'+' if waiting.more else ''}"


def _oldest(waiting: Waiting | None) -> str | None:
    return None if waiting is None else time(waiting.oldest_enqueued_at)


def _why(message: QueuedMessage) -> object:
    return message.dead_letter_reason or message.properties.get("reason")


def _path(queue: str) -> str:
    return f"/v1/queues/{quote(queue, safe='')}"
