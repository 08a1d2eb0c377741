"""Sends jobs over Service Bus and gathers their replies, with the SDK, as any producer would."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Sequence

from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from contracts.names import REQUESTS_QUEUE, RESULTS_QUEUE
from devhost.demo.cases import Case
from devhost.demo.client import PATIENCE_SECONDS, DemoFailed, Job


async def run_jobs(
    connection: str, cases: Sequence[Case], progress: Callable[[str, str], None]
) -> list[Job | DemoFailed]:
    """The reply to each case, or why there is none; `progress` is told a flow and its status."""
    flows = {uuid.uuid4().hex: case for case in cases}
    replies: dict[str, Job] = {}
    async with ServiceBusClient.from_connection_string(connection) as client:
        async with client.get_queue_sender(REQUESTS_QUEUE) as sender:
            await sender.send_messages(
                [
                    ServiceBusMessage(
                        json.dumps({"flow": case.flow, "input": case.input}), message_id=message_id
                    )
                    for message_id, case in flows.items()
                ]
            )
        for case in cases:
            progress(case.flow, "sent")
        try:
            async with (
                asyncio.timeout(PATIENCE_SECONDS),
                client.get_queue_receiver(RESULTS_QUEUE) as receiver,
            ):
                while len(replies) < len(flows):
                    for message in await receiver.receive_messages(max_wait_time=1):
                        job = Job.model_validate_json(b"".join(message.body))
                        await receiver.complete_message(message)
                        replies[str(message.correlation_id)] = job
                        progress(flows[str(message.correlation_id)].flow, job.status)
        except TimeoutError:
            pass  # said below, of each job that has no reply
    missing = DemoFailed(f"no reply on {RESULTS_QUEUE} after {PATIENCE_SECONDS} s")
    return [replies.get(message_id, missing) for message_id in flows]
