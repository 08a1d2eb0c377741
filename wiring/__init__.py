"""Builds the app's parts from its settings, once a process, when they are first needed.

Settings are environment variables (Azure's app settings); local.settings.example.json
explains each.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from azure.durable_functions import DurableFunctionsClient
from azure.functions import AuthLevel
from pydantic import TypeAdapter, ValidationError

from batches.engine import Batches
from contracts.errors import Misconfigured
from contracts.names import (
    BATCH_INPUTS,
    BATCH_INPUTS_SOURCE,
    DEFAULT_BATCH_INPUTS,
    RESULTS_QUEUE,
    SERVICE_BUS_CONNECTION,
)
from contracts.stuck import StuckPolicy
from endpoints import settings as deployments_yaml
from endpoints.context import Context
from endpoints.invoke import Endpoints
from flows.registry import Flows
from ledger.admission import OpenBooks
from ledger.ledger import Ledger
from ledger.query import Books
from policies.identity.identities import Identities
from policies.quotas.admission import Quotas
from policies.stuck.rules import GRACE, StuckRules
from policies.tenants import Tenants
from stores.audit import AuditLog
from stores.batches import BatchStore
from stores.blobs import Container, StorageAccount
from stores.comparisons import ComparisonStore
from stores.files import FileStore
from stores.input_blobs import InputBlobs
from stores.inspection import Inspection
from stores.jobs import JobStore
from stores.keys import KeyStore
from stores.queues import Namespace, Queues
from stores.refusals import Refusals
from wiring import identity
from wiring.exchange import Exchange, worker_name
from wiring.ledger import ledger_of, prices
from wiring.privacy import LazyRedaction, PrivacyOf, privacy_of
from wiring.quotas import quotas_of
from wiring.screening import screening_of
from wiring.telemetry import both, watch_deployments, watched

if TYPE_CHECKING:  # half a second of imports, left to the first request
    from azure.storage.blob.aio import BlobServiceClient

    from policies.screening.screening import Screening

type OpenService = Callable[[], BlobServiceClient]

_log = logging.getLogger("sluice.wiring")

DEFAULT_REPLY_QUEUES = f"{RESULTS_QUEUE},*-replies"

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request and one run."""

    request_bytes: int
    file_bytes: int
    flow_time: timedelta


@dataclass(frozen=True, slots=True)
class Parts:
    """What triggers and activities work with."""

    endpoints: Endpoints
    flows: Flows
    jobs: JobStore
    limits: Limits
    files: FileStore
    batch_store: BatchStore
    batch_inputs: InputBlobs
    keys: KeyStore
    audit: AuditLog
    refusals: Refusals
    queues: Queues | None = None
    """None when the app has no Service Bus."""
    inspection: Inspection | None = None
    """As `queues`: what operators look into."""
    reply_queues: tuple[str, ...] = ()
    """Patterns of the queues that callers may have replies sent to."""
    exchange: Exchange | None = None
    """None when this app shares nothing with other workers."""
    comparisons: ComparisonStore | None = None
    """Of mirrored calls."""
    tenants: Tenants = field(default_factory=Tenants)
    privacy: PrivacyOf = privacy_of(Tenants(), None)  # noqa: RUF009 (it keeps everything)
    """What holds for each, and for everybody when the app knows none."""
    identities: Identities | None = None
    """None when the app knows no tenants: then the platform's key guards its doors."""
    ledger: Ledger | None = None
    """None where nobody asks who used what, and what it cost."""
    books: Books | None = None
    """What all workers' ledgers say."""
    quotas: Quotas = field(default_factory=partial(Quotas, {}))
    stuck: StuckRules = field(default_factory=StuckRules)
    """What is done with jobs that make no progress."""

    screening: Screening | None = None
    """None where no request passes any screen."""

    async def booked(self) -> None:
        """See `contracts.calls.Booked`."""
        if self.ledger is not None:
            await self.ledger.settled()

    def share_by(self, hub: str | DurableFunctionsClient) -> None:
        """Have this worker exchange what it knows of models by way of a durable client.

        For every function that calls models; cheap when it does so already.
        """
        if self.exchange is not None:
            self.exchange.begin(hub)
        if self.ledger is not None:
            self.ledger.begin()

    @property
    def batches(self) -> Batches:
        return Batches(
            self.batch_store,
            self.files,
            self.batch_inputs,
            self.endpoints,
            self.flows,
            self.limits.flow_time,
            self.booked,
            self.quotas,
            self.screening,
        )


@cache
def parts() -> Parts:
    """The parts of this process. Raises Misconfigured, each time, while a setting is wrong."""
    return build(os.environ)


def check() -> None:
    """Build the parts now, so that what is wrong with the settings is logged at start.

    The app starts all the same: every door that needs a key then says what is wrong.
    """
    try:
        ledger = parts().ledger
    except Misconfigured as error:
        _log.critical("The app is not set up: %s", error.detail)
        return
    if ledger is not None:
        with suppress(RuntimeError):  # without an event loop: the first call begins it
            ledger.begin()


def knows_tenants() -> bool:
    """Whether there is to be a tenants.yaml, be it as expected or not."""
    return identity.tenants_path(os.environ) is not None


def auth_level() -> AuthLevel:
    """What the platform asks of callers: nothing, where the app itself asks who they are."""
    return AuthLevel.ANONYMOUS if knows_tenants() else AuthLevel.FUNCTION


def build(environ: Mapping[str, str]) -> Parts:
    """The parts that these settings describe."""
    account = storage_account(environ)
    tenants = identity.tenants(environ)
    privacy = privacy_of(tenants, _setting(environ, "SLUICE_RETENTION", timedelta, None))
    _check_inputs_source(environ)
    comparisons = ComparisonStore(
        Container(account.open, environ.get("SLUICE_COMPARISONS_CONTAINER") or "sluice-comparisons")
    )
    declared = _deployments(environ)
    worker = worker_name()
    ledger, books = ledger_of(declared, account, environ, worker)
    priced = prices(declared)
    quotas = quotas_of(tenants, priced.cost)
    context = Context(
        begun=ledger.begun,
        meter=both(ledger.meter, quotas.meter),
        admission=OpenBooks(ledger, quotas),
        compared=comparisons.add,
        redaction=LazyRedaction(privacy),
        region=environ.get("SLUICE_REGION") or None,
    )
    endpoints = Endpoints(declared, context=watched(context, environ, priced))
    watch_deployments(endpoints, environ)
    # One container for files and batches: a batch's files are made of what its slices wrote.
    files = Container(account.open, environ.get("SLUICE_FILES_CONTAINER") or "sluice-files")
    shares = _setting(environ, "SLUICE_SHARING", bool, True)
    flow_time = _setting(environ, "SLUICE_FLOW_TIMEOUT", timedelta, timedelta(minutes=30))
    keys, audit = key_store(account.open, environ), audit_log(account.open, environ)
    namespace = _namespace(environ)
    return Parts(
        endpoints=endpoints,
        flows=Flows.load(
            Path(environ.get("SLUICE_FLOWS") or ROOT / "flows"), models=endpoints.models
        ),
        jobs=JobStore(
            Container(account.open, environ.get("SLUICE_JOBS_CONTAINER") or "sluice-jobs")
        ),
        limits=Limits(
            request_bytes=_setting(environ, "SLUICE_MAX_REQUEST_BYTES", int, 20_000_000),
            file_bytes=_setting(environ, "SLUICE_MAX_FILE_BYTES", int, 250_000_000),
            flow_time=flow_time,
        ),
        files=FileStore(files),
        batch_store=BatchStore(files),
        batch_inputs=InputBlobs(
            Container(account.open, environ.get(BATCH_INPUTS) or DEFAULT_BATCH_INPUTS)
        ),
        keys=keys,
        audit=audit,
        refusals=Refusals(audit, worker),
        queues=None if namespace is None else Queues(namespace),
        inspection=None if namespace is None else Inspection(namespace),
        reply_queues=tuple(
            pattern.strip().lower()
            for pattern in (environ.get("SLUICE_REPLY_QUEUES") or DEFAULT_REPLY_QUEUES).split(",")
        ),
        exchange=_exchange(endpoints, quotas, worker) if shares else None,
        comparisons=comparisons,
        tenants=tenants,
        privacy=privacy,
        identities=identity.identities(tenants, keys, environ),
        ledger=ledger,
        books=books,
        quotas=quotas,
        screening=screening_of(tenants),
        stuck=StuckRules(
            _setting(environ, "SLUICE_STUCK", StuckPolicy, StuckPolicy.REPORT),
            _setting(environ, "SLUICE_STUCK_AFTER", timedelta, flow_time + GRACE),
        ),
    )


def key_store(open_service: OpenService, environ: Mapping[str, str]) -> KeyStore:
    """The API keys of these settings."""
    return KeyStore(Container(open_service, environ.get("SLUICE_KEYS_CONTAINER") or "sluice-keys"))


def audit_log(open_service: OpenService, environ: Mapping[str, str]) -> AuditLog:
    """The audit log of these settings, in a container of its own: an immutability policy holds for
    a whole one."""
    return AuditLog(
        Container(open_service, environ.get("SLUICE_AUDIT_CONTAINER") or "sluice-audit")
    )


def _check_inputs_source(environ: Mapping[str, str]) -> None:
    source = environ.get(BATCH_INPUTS_SOURCE)
    if source and source not in ("EventGrid", "LogsAndContainerScan"):
        raise Misconfigured(
            f"App setting {BATCH_INPUTS_SOURCE} is {source!r}; expected EventGrid or"
            " LogsAndContainerScan."
        )


def _deployments(environ: Mapping[str, str]) -> deployments_yaml.Settings:
    path = Path(environ.get("SLUICE_DEPLOYMENTS") or ROOT / "deployments.yaml")
    try:
        return deployments_yaml.load(path, environ)
    except deployments_yaml.SettingsError as error:
        raise Misconfigured(str(error)) from error


def _exchange(endpoints: Endpoints, quotas: Quotas, worker: str) -> Exchange:
    return Exchange(endpoints.share(worker), tenants=quotas.share(worker))


def _namespace(environ: Mapping[str, str]) -> Namespace | None:
    if connection := environ.get(SERVICE_BUS_CONNECTION):
        return Namespace(connection_string=connection)
    if host := environ.get(f"{SERVICE_BUS_CONNECTION}__fullyQualifiedNamespace"):
        return Namespace(host=host)
    return None


def storage_account(environ: Mapping[str, str]) -> StorageAccount:
    """The account of SLUICE_STORAGE, else of AzureWebJobsStorage.

    Each may be a connection string, or identity-based as Azure Functions spells it:
    NAME__blobServiceUri, or NAME__accountName for the public cloud.
    """
    name = storage_setting(environ)
    if connection := environ.get(name):
        return StorageAccount(connection_string=connection)
    if url := environ.get(f"{name}__blobServiceUri"):
        return StorageAccount(blob_url=url)
    if account := environ.get(f"{name}__accountName"):
        return StorageAccount(blob_url=f"https://{account}.blob.core.windows.net")
    raise Misconfigured(
        "No storage account is set: give AzureWebJobsStorage a connection string, or"
        " AzureWebJobsStorage__accountName a name that the app's identity may use."
    )


def storage_setting(environ: Mapping[str, str]) -> str:
    """Which of the two settings names the account."""
    forms = ("", "__blobServiceUri", "__accountName")
    given = any(environ.get(f"SLUICE_STORAGE{form}") for form in forms)
    return "SLUICE_STORAGE" if given else "AzureWebJobsStorage"


def _setting[T](environ: Mapping[str, str], name: str, expected: type[T], default: T) -> T:
    text = environ.get(name)
    if not text:
        return default
    try:
        return TypeAdapter(expected).validate_python(text)
    except ValidationError as error:
        raise Misconfigured(
            f"App setting {name} is {text!r}; expected {error.errors()[0]['msg']}."
        ) from error
