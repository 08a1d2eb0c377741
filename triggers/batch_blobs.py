"""The blob door: a blob `NAME.jsonl` in the container for inputs is a batch.

Where the app knows tenants, a blob is of the tenant whose name its first folder has.
What `POST /v1/batches` says in its body is in the blob's metadata: `endpoint` (by default what the
first line names), `max_failed_share`, and under any other name what becomes the batch's metadata.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

import azure.durable_functions as df
from azure.functions import BlobSource
from pydantic_core import to_json

import wiring
from contracts.batches import HandedBatch
from contracts.errors import Forbidden, NotFound, Settle, SluiceError
from contracts.identity import Identity
from contracts.jobs import Rejection, ReplyAddress
from contracts.names import (
    BATCH_INPUTS,
    BATCH_INPUTS_SOURCE,
    DEFAULT_BATCH_INPUTS,
    RESULTS_QUEUE,
)
from policies.identity.identities import PLATFORM_KEY
from stores.blobs import Described
from stores.queues import OutgoingMessage
from triggers.aside import aside
from triggers.batch_submission import BatchSubmission
from triggers.blob_reference import BlobReference
from triggers.door import parse_json
from triggers.submission import Caller
from wiring import Parts

bp = df.Blueprint()

_log = logging.getLogger("sluice.triggers")

SUBJECT = "blob"
"""Of whoever put a blob there: storage does not say who."""
LONGEST_ID = 128
"""Of a message, and of what it answers."""

# The host would take %NAME% in a path only where the setting is made.
_CONTAINER = os.environ.get(BATCH_INPUTS) or DEFAULT_BATCH_INPUTS
_SCANS = os.environ.get(BATCH_INPUTS_SOURCE) == BlobSource.LOGS_AND_CONTAINER_SCAN.value


# A reference to the blob: as a value it would be the whole content, sent to the worker at once.
@bp.function_name("receive_batch_blob")
@bp.blob_trigger(
    arg_name="blob",
    path=f"{_CONTAINER}/{{name}}.jsonl",
    connection=wiring.storage_setting(os.environ),
    source=BlobSource.LOGS_AND_CONTAINER_SCAN if _SCANS else BlobSource.EVENT_GRID,
)
@bp.durable_client_input(client_name="client")
async def receive_batch_blob(blob: BlobReference, client: df.DurableFunctionsClient) -> None:
    """Start the batch that a blob is. Each version of the blob is one.

    Raising leaves the blob for a later try; the host gives up after five.
    """
    await receive(wiring.parts(), client, blob.name)


async def receive(parts: Parts, client: df.DurableFunctionsClient, name: str) -> None:
    """Start the batch, or say why there can be none. Raises when a later try may do."""
    try:
        found = await parts.batch_inputs.look(name)
    except NotFound:
        _log.warning("an input was removed before it was read")
        return
    key = f"{parts.batch_inputs.container}/{name} {found.etag}"
    reply = None
    if parts.queues is not None:
        reply = ReplyAddress(queue=RESULTS_QUEUE, correlation_id=name[-LONGEST_ID:])
    try:
        caller = Caller(_identity(parts, name), key, reply)
        submission = BatchSubmission(parts, client, caller)
        await submission.of_blob(found, _handed(parts, found))
    except SluiceError as error:
        if error.settle is Settle.ABANDON:
            raise
        await _reject(parts, name, key, error)


def _identity(parts: Parts, name: str) -> Identity:
    """Whoever may write into a tenant's folder speaks for it. Raises Forbidden."""
    if parts.identities is None:
        return PLATFORM_KEY
    folder, inside, _ = name.partition("/")
    identity = parts.identities.of_tenant(folder, SUBJECT) if inside else None
    if identity is None:
        raise Forbidden("The blob is in no tenant's folder: inputs of batches go to TENANT/NAME.")
    return identity


def _handed(parts: Parts, found: Described) -> HandedBatch:
    """Raises InvalidRequest naming each field of the metadata that is wrong."""
    said = {"input_blob": parts.batch_inputs.url_of(found.name), **_options(found.metadata)}
    return parse_json(to_json(said), HandedBatch)


def _options(metadata: Mapping[str, str]) -> dict[str, object]:
    options: dict[str, object] = {}
    rest = dict(metadata)
    for option in ("endpoint", "max_failed_share"):
        if option in rest:
            options[option] = rest.pop(option)
    return options | ({"metadata": rest} if rest else {})


async def _reject(parts: Parts, name: str, key: str, error: SluiceError) -> None:
    """Tell the operator, and whoever listens to the results."""
    _log.error("input %s is no batch: %s", name, aside(error))
    if parts.queues is None:
        return
    rejection = Rejection(object="batch", error=error.problem())
    await parts.queues.send(
        RESULTS_QUEUE,
        OutgoingMessage(
            id=f"{key}-rejected"[-LONGEST_ID:],
            body=rejection.model_dump_json(exclude_none=True).encode(),
            correlation_id=name[-LONGEST_ID:],
            properties={"status": "rejected"},
        ),
    )
