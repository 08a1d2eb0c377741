"""Builds the app's parts from its settings, once a process, when they are first needed.

Settings are environment variables (Azure's app settings); local.settings.example.json
explains each.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path

from azure.durable_functions import DurableFunctionsClient
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
from endpoints.context import Context
from endpoints.invoke import Endpoints
from endpoints.settings import SettingsError
from flows.registry import Flows
from stores.batches import BatchStore
from stores.blobs import Container, StorageAccount
from stores.comparisons import ComparisonStore
from stores.files import FileStore
from stores.input_blobs import InputBlobs
from stores.jobs import JobStore
from stores.queues import Namespace, Queues
from wiring.exchange import Exchange, worker_name
from wiring.usage import UsageLog

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
    queues: Queues | None = None
    """None when the app has no Service Bus."""
    reply_queues: tuple[str, ...] = ()
    """Patterns of the queues that callers may have replies sent to."""
    exchange: Exchange | None = None
    """None when this app shares nothing with other workers."""
    comparisons: ComparisonStore | None = None
    """Of mirrored calls."""

    def share_by(self, hub: str | DurableFunctionsClient) -> None:
        """Have this worker exchange what it knows of models by way of a durable client.

        For every function that calls models; cheap when it does so already.
        """
        if self.exchange is not None:
            self.exchange.begin(hub)

    @property
    def batches(self) -> Batches:
        return Batches(
            self.batch_store,
            self.files,
            self.batch_inputs,
            self.endpoints,
            self.flows,
            self.limits.flow_time,
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
        parts()
    except Misconfigured as error:
        _log.critical("The app is not set up: %s", error.detail)


def build(environ: Mapping[str, str]) -> Parts:
    """The parts that these settings describe."""
    account = storage_account(environ)
    _check_inputs_source(environ)
    comparisons = ComparisonStore(
        Container(account.open, environ.get("SLUICE_COMPARISONS_CONTAINER") or "sluice-comparisons")
    )
    endpoints = _endpoints(environ, comparisons)
    # One container for files and batches: a batch's files are made of what its slices wrote.
    files = Container(account.open, environ.get("SLUICE_FILES_CONTAINER") or "sluice-files")
    shares = _setting(environ, "SLUICE_SHARING", bool, True)
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
            flow_time=_setting(environ, "SLUICE_FLOW_TIMEOUT", timedelta, timedelta(minutes=30)),
        ),
        files=FileStore(files),
        batch_store=BatchStore(files),
        batch_inputs=InputBlobs(
            Container(account.open, environ.get(BATCH_INPUTS) or DEFAULT_BATCH_INPUTS)
        ),
        queues=_queues(environ),
        reply_queues=tuple(
            pattern.strip().lower()
            for pattern in (environ.get("SLUICE_REPLY_QUEUES") or DEFAULT_REPLY_QUEUES).split(",")
        ),
        exchange=Exchange(endpoints.share(worker_name())) if shares else None,
        comparisons=comparisons,
    )


def _check_inputs_source(environ: Mapping[str, str]) -> None:
    source = environ.get(BATCH_INPUTS_SOURCE)
    if source and source not in ("EventGrid", "LogsAndContainerScan"):
        raise Misconfigured(
            f"App setting {BATCH_INPUTS_SOURCE} is {source!r}; expected EventGrid or"
            " LogsAndContainerScan."
        )


def _endpoints(environ: Mapping[str, str], comparisons: ComparisonStore) -> Endpoints:
    context = Context(
        meter=UsageLog(),
        compared=comparisons.add,
        region=environ.get("SLUICE_REGION") or None,
    )
    path = Path(environ.get("SLUICE_DEPLOYMENTS") or ROOT / "deployments.yaml")
    try:
        return Endpoints.load(path, environ, context=context)
    except SettingsError as error:
        raise Misconfigured(str(error)) from error


def _queues(environ: Mapping[str, str]) -> Queues | None:
    if connection := environ.get(SERVICE_BUS_CONNECTION):
        return Queues(Namespace(connection_string=connection))
    if host := environ.get(f"{SERVICE_BUS_CONNECTION}__fullyQualifiedNamespace"):
        return Queues(Namespace(host=host))
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
