"""Send one job over Service Bus and wait for its reply, with the plain azure-servicebus SDK.

    .venv/bin/python examples/send_job.py classify '{"text": "The parcel never came."}'

With `./dev start` running, that is all. `--connection` takes the connection string of any other
namespace, one in Azure too. `--after SECONDS` schedules the job for later; `--reply-to QUEUE` has
the reply sent elsewhere than to `inference-results`.

Where the app knows tenants, a message proves whose it is. Either with a token of an issuer that
tenants.yaml names, in `--token`; or, for a producer with a key pair of its own, with a token for
this one message: `--sign-with key.pem --issuer https://orders.example.com --audience api://sluice`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusReceiver


def main() -> int:
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.sign_with and not arguments.issuer:
        parser.error("--sign-with takes --issuer too")
    job = json.dumps({"flow": arguments.flow, "input": json.loads(arguments.input)})
    # Sent again with the same id, the message is still one job.
    message_id = str(uuid.uuid4())
    token = _signed(arguments, message_id, job) if arguments.sign_with else arguments.token
    message = ServiceBusMessage(
        job,
        message_id=message_id,
        content_type="application/json",
        reply_to=arguments.reply_to,
        application_properties={"authorization": f"Bearer {token}"} if token else None,
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


def _signed(arguments: argparse.Namespace, message_id: str, body: str) -> str:
    """A token that proves this message, and is of no use for any other."""
    now = datetime.now(UTC)
    claims = {
        "iss": arguments.issuer,
        "sub": arguments.subject,
        "aud": arguments.audience,
        "iat": now,
        # It must hold when the message is sent, not when it is read.
        "exp": now + timedelta(seconds=arguments.after) + timedelta(minutes=5),
        "jti": message_id,
        "body_sha256": hashlib.sha256(body.encode()).hexdigest(),
        "roles": ["sluice.submit"],
    }
    headers = {"kid": arguments.key_id} if arguments.key_id else None
    return jwt.encode(claims, arguments.sign_with.read_text(), arguments.algorithm, headers)


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
    parser.add_argument("--token", help="a token of an issuer in tenants.yaml")
    signing = parser.add_argument_group("a token for this message")
    signing.add_argument("--sign-with", type=Path, metavar="PEM", help="the private key's file")
    signing.add_argument("--issuer", help="as tenants.yaml names this producer")
    signing.add_argument("--audience", default="api://sluice")
    signing.add_argument("--subject", default="send_job")
    signing.add_argument("--key-id", help="of the key in tenants.yaml; needed where it has several")
    signing.add_argument("--algorithm", default="EdDSA", help="or ES256, RS256")
    return parser


if __name__ == "__main__":
    sys.exit(main())
