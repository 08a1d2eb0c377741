"""Accepting a batch, the same way at every door: check it, keep it, start it once."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import get_args

import azure.durable_functions as df
import grpc
from pydantic import BaseModel

from batches.lines import cut, parse
from contracts.batches import (
    AcceptedBatch,
    BatchLine,
    BatchRequest,
    BatchTicket,
    Endpoint,
    HandedBatch,
    InputBlob,
)
from contracts.errors import (
    DependencyUnavailable,
    IdempotencyKeyReused,
    InvalidRequest,
    PayloadTooLarge,
)
from contracts.ids import new_batch_id, new_file_id
from contracts.names import BATCH_ORCHESTRATOR
from contracts.problems import FieldProblem
from policies.privacy.retention import expired
from stores.blobs import Described
from stores.files import StoredFile
from stores.jobs import KeyClaim
from telemetry.tracing import carried
from triggers.submission import Caller
from wiring import Parts

WINDOW = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class BatchSubmission:
    """One caller's batch. When a method returns, the batch is kept and its orchestration is
    started; with a key, a repeat of the request returns the batch that the first one started.

    They raise a CallerError, with nothing kept or started, when the request is not valid.
    """

    parts: Parts
    client: df.DurableFunctionsClient
    caller: Caller

    async def of_file(self, request: BatchRequest) -> AcceptedBatch:
        """A batch of an uploaded file."""
        if before := await self._accepted_before(request):
            return before
        await self._input_file(request.input_file_id)
        return await self._accept(request, _fingerprint(request))

    async def handed(self, handed: HandedBatch) -> AcceptedBatch:
        """A batch of an uploaded file, or of a blob."""
        if before := await self._accepted_before(handed):
            return before
        if handed.input_blob is not None:
            inputs = self.parts.batch_inputs
            folder = None if self.parts.identities is None else self.caller.tenant
            found = await inputs.look(inputs.name_of(handed.input_blob), folder=folder)
            return await self._of_blob(found, handed)
        assert handed.input_file_id is not None
        file = await self._input_file(handed.input_file_id)
        endpoint = handed.endpoint or await _told_endpoint(self.parts.files.content(file))
        request = _request(handed, handed.input_file_id, endpoint)
        return await self._accept(request, _fingerprint(handed))

    async def of_blob(self, found: Described, handed: HandedBatch) -> AcceptedBatch:
        """A batch of a blob as it was found."""
        return await self._accepted_before(handed) or await self._of_blob(found, handed)

    async def _of_blob(self, found: Described, handed: HandedBatch) -> AcceptedBatch:
        inputs, most = self.parts.batch_inputs, self.parts.limits.file_bytes
        if found.size > most:
            raise PayloadTooLarge(f"The blob has {found.size:,} bytes; at most {most:,} are taken.")
        blob = InputBlob(name=found.name, etag=found.etag)
        endpoint = handed.endpoint or await _told_endpoint(inputs.read(blob))
        request = _request(handed, new_file_id(datetime.now(UTC)), endpoint)
        return await self._accept(request, _fingerprint(handed), blob)

    async def _input_file(self, file_id: str) -> StoredFile:
        stored = await self.parts.files.get(self.caller.tenant, file_id)
        rules = self.parts.privacy(self.caller.tenant).retention
        if stored is None or stored.file.purpose != "batch" or expired(stored.file, rules):
            expected = "the id of a file that was uploaded with the purpose `batch`"
            raise wrong("input_file_id", expected)
        return stored

    async def _accepted_before(self, asked: BaseModel) -> AcceptedBatch | None:
        """The batch that this very request started before, under its key."""
        key = self.caller.idempotency_key
        if key is None:
            return None
        claim = await self.parts.batch_store.get_claim(self.caller.tenant, key)
        batch = None if claim is None else await self._claimed(claim, _fingerprint(asked))
        if batch is not None:
            await self._start_once(batch)
        return batch

    async def _accept(
        self, request: BatchRequest, fingerprint: str, blob: InputBlob | None = None
    ) -> AcceptedBatch:
        now = datetime.now(UTC)
        batch = AcceptedBatch(
            id=new_batch_id(now),
            tenant=self.caller.tenant,
            request=request,
            created_at=now,
            expires_at=now + WINDOW,
            input_blob=blob,
            reply=self.caller.reply,
            models=self.caller.identity.models,
            flows=self.caller.identity.flows,
        )
        if (key := self.caller.idempotency_key) is not None:
            mine = KeyClaim(job_id=batch.id, fingerprint=fingerprint)
            claim = await self.parts.batch_store.claim_key(batch.tenant, key, mine)
            # Another's batch may be missing, when it was interrupted: then this one is kept.
            before = await self._claimed(claim, fingerprint)
            batch = before or batch.model_copy(update={"id": claim.job_id})
        await self.parts.batch_store.accept(batch)
        await self._start_once(batch)
        return batch

    async def _claimed(self, claim: KeyClaim, fingerprint: str) -> AcceptedBatch | None:
        if claim.fingerprint != fingerprint:
            raise IdempotencyKeyReused(
                "The Idempotency-Key was used with another request: use a new key for a new"
                " request."
            )
        return await self.parts.batch_store.get(self.caller.tenant, claim.job_id)

    async def _start_once(self, batch: AcceptedBatch) -> None:
        """Scheduled over one that has ended, it would run again."""
        if await self._is_started(batch.id):
            return
        ticket = BatchTicket(
            id=batch.id,
            tenant=batch.tenant,
            expires_at=batch.expires_at,
            announce=batch.reply is not None,
            trace=carried(),
        )
        try:
            await self.client.schedule_new_orchestration(
                BATCH_ORCHESTRATOR, input=ticket.model_dump(mode="json"), instance_id=batch.id
            )
        except grpc.RpcError as error:
            # Hosts refuse an id that is taken with different codes, so ask.
            if not await self._is_started(batch.id):
                raise _unreachable() from error

    async def _is_started(self, batch_id: str) -> bool:
        try:
            state = await self.client.get_orchestration_state(batch_id, fetch_payloads=False)
        except grpc.RpcError as error:
            raise _unreachable() from error
        return state is not None


async def _told_endpoint(pieces: AsyncIterator[bytes]) -> Endpoint:
    """What the input's first line names. Raises InvalidRequest."""
    known: tuple[Endpoint, ...] = get_args(Endpoint)
    async with aclosing(cut(pieces)) as lines:
        async for line in lines:
            if line.empty:
                continue
            first = parse(line.text)
            for endpoint in known:
                if isinstance(first, BatchLine) and first.url == endpoint:
                    return endpoint
            break
    expected = f"one of {', '.join(known)}, here or as the `url` of the input's first line"
    raise wrong("batch.endpoint", expected)


def _request(handed: HandedBatch, file_id: str, endpoint: Endpoint) -> BatchRequest:
    return BatchRequest(
        input_file_id=file_id,
        endpoint=endpoint,
        completion_window=handed.completion_window,
        metadata=handed.metadata,
        max_failed_share=handed.max_failed_share,
    )


def _fingerprint(asked: BaseModel) -> str:
    return hashlib.sha256(asked.model_dump_json().encode()).hexdigest()


def wrong(field: str, expected: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{field}` is not as expected: {expected}.", [FieldProblem(field=field, expected=expected)]
    )


def _unreachable() -> DependencyUnavailable:
    return DependencyUnavailable(
        "The batch could not be started now. Nothing was started: try again in a few seconds."
    )
