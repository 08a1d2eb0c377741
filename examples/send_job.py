"""Send one job over Service Bus and wait for its reply, with the plain azure-servicebus SDK.

    .venv/bin/python examples/send_job.py classify '{"text": "The parcel never came."}'

With `./dev start` running, that is all. `--connection` takes the connection string of any other
namespace, one in Azure too. `--after SECONDS` schedules the job for later; `--reply-to QUEUE` has
the reply sent elsewhere than to `inference-results`.
"""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusReceiver


def main() -> int:
    arguments = _parser().parse_args()
    job = {"flow": arguments.flow, "input": json.loads(arguments.input)}
    message = ServiceBusMessage(
        json.dumps(job),
        # Sent again with the same id, the message is still one job.
        message_id=str(uuid.uuid4()),
        content_type="application/json",
        reply_to=arguments.reply_to,
    )
    with ServiceBusClient.from_connection_string(arguments.connection or _local()) as client:
        with client.get_queue_sender("inference-requests") as sender:
            if arguments.after:
                at = datetime.now(UTC) + timedelta(seconds=arguments.after)
                sender.schedule_messages(message, at)
            else:
                sender.send_messages(message)
        wait = arguments.wait + arguments.after
        with client.get_queue_receiver(arguments.reply_to, max_wait_time=wait) as receiver:
            reply = _reply_to(receiver, str(message.message_id))
    if reply is None:
        sys.stderr.write(f"No reply within {wait} seconds.\n")
        return 1
    sys.stdout.write(json.dumps(reply, indent=2) + "\n")
    return 0 if reply["status"] == "succeeded" else 1


def _reply_to(receiver: ServiceBusReceiver, message_id: str) -> dict[str, object] | None:
    """The reply whose correlation id is our message's id; those of others are left in the queue."""
    for reply in receiver:
        if reply.correlation_id == message_id:
            receiver.complete_message(reply)
            found: dict[str, object] = json.loads(str(reply))
            return found
        receiver.abandon_message(reply)
    return None


def _local() -> str:
    return str(json.loads(Path(".local/stack.json").read_text())["service_bus"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("flow")
    parser.add_argument("input", help="the flow's input, as JSON")
    parser.add_argument("--connection", help="connection string; that of ./dev start by default")
    parser.add_argument("--reply-to", default="inference-results", metavar="QUEUE")
    parser.add_argument("--after", type=int, default=0, metavar="SECONDS")
    parser.add_argument("--wait", type=int, default=60, metavar="SECONDS")
    return parser


if __name__ == "__main__":
    sys.exit(main())
