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

from pydantic import TypeAdapter, ValidationError

from contracts.errors import Misconfigured
from contracts.names import RESULTS_QUEUE, SERVICE_BUS_CONNECTION
from endpoints.invoke import Endpoints
from endpoints.settings import SettingsError
from flows.registry import Flows
from stores.blobs import Container, StorageAccount
from stores.jobs import JobStore
from stores.queues import Namespace, Queues

_log = logging.getLogger("sluice.wiring")

DEFAULT_REPLY_QUEUES = f"{RESULTS_QUEUE},*-replies"

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request and one run."""

    request_bytes: int
    flow_time: timedelta


@dataclass(frozen=True, slots=True)
class Parts:
    """What triggers and activities work with."""

    endpoints: Endpoints
    flows: Flows
    jobs: JobStore
    limits: Limits
    queues: Queues | None = None
    """None when the app has no Service Bus."""
    reply_queues: tuple[str, ...] = ()
    """Patterns of the queues that callers may have replies sent to."""


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
    try:
        endpoints = Endpoints.load(
            Path(environ.get("SLUICE_DEPLOYMENTS") or ROOT / "deployments.yaml"), environ
        )
    except SettingsError as error:
        raise Misconfigured(str(error)) from error
    account = storage_account(environ)
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
            flow_time=_setting(environ, "SLUICE_FLOW_TIMEOUT", timedelta, timedelta(minutes=30)),
        ),
        queues=_queues(environ),
        reply_queues=tuple(
            pattern.strip().lower()
            for pattern in (environ.get("SLUICE_REPLY_QUEUES") or DEFAULT_REPLY_QUEUES).split(",")
        ),
    )


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
    for name in ("SLUICE_STORAGE", "AzureWebJobsStorage"):
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
