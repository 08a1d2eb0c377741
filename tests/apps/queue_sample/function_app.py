"""A small app with Service Bus triggers; it notes what it sees as lines of JSON in a file."""

import asyncio
import json
import os
from pathlib import Path

import azure.functions as func

app = func.FunctionApp()

PROPERTIES = [
    "application_properties",
    "content_type",
    "correlation_id",
    "dead_letter_reason",
    "delivery_count",
    "enqueued_time_utc",
    "expires_at_utc",
    "label",
    "locked_until",
    "lock_token",
    "message_id",
    "partition_key",
    "reply_to",
    "reply_to_session_id",
    "sequence_number",
    "session_id",
    "state",
    "subject",
    "time_to_live",
    "to",
    "user_properties",
]


def note(what: str, **more: object) -> None:
    with Path(os.environ["SAMPLE_NOTES"]).open("a", encoding="utf-8") as notes:
        notes.write(json.dumps({"what": what, **more}, default=str) + "\n")


def text(message: func.ServiceBusMessage) -> str:
    return message.get_body().decode()


@app.service_bus_queue_trigger(arg_name="message", queue_name="%SEEN%", connection="Bus")
async def see(message: func.ServiceBusMessage, context: func.Context) -> None:
    seen = {name: getattr(message, name) for name in PROPERTIES}
    note("see", body=text(message), trace=context.trace_context.trace_parent, **seen)


@app.service_bus_queue_trigger(arg_name="message", queue_name="failing", connection="Bus")
def fail(message: func.ServiceBusMessage) -> None:
    note("fail", count=message.delivery_count)
    raise RuntimeError("no")


@app.service_bus_queue_trigger(arg_name="message", queue_name="slow", connection="Bus")
async def rest(message: func.ServiceBusMessage) -> None:
    note("begin", body=text(message), count=message.delivery_count)
    await asyncio.sleep(json.loads(text(message))["seconds"])
    note("end", body=text(message))


@app.service_bus_topic_trigger(
    arg_name="message", topic_name="news", subscription_name="all", connection="Bus"
)
async def subscribe(message: func.ServiceBusMessage) -> None:
    note("news", body=text(message))


@app.service_bus_queue_trigger(
    arg_name="message", queue_name="ordered", connection="Bus", is_sessions_enabled=True
)
async def follow(message: func.ServiceBusMessage) -> None:
    note("begin session", session=message.session_id, body=text(message))
    await asyncio.sleep(0.05)
    note("end session", session=message.session_id, body=text(message))


@app.service_bus_queue_trigger(arg_name="message", queue_name="any", connection="Nowhere")
async def never(message: func.ServiceBusMessage) -> None:
    note("never")
