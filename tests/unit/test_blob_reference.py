"""The blob door as the vendor's worker has it: given a reference, never the content."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from azure_functions_runtime.bindings.meta import (
    deferred_bindings_decode,
    get_binding,
    get_deferred_raw_bindings,
    load_binding_registry,
)
from azure_functions_runtime.functions import Registry
from azurefunctions.extensions.base import Datum

from tests.unit.indexed import indexed
from tests.unit.test_function_app import Protos
from triggers.blob_reference import BlobReference


def test_the_worker_has_the_host_send_a_reference():
    load_binding_registry()
    [door] = [each for each in indexed() if each.get_function_name() == "receive_batch_blob"]
    taken = Registry().add_indexed_function(door, Protos)
    assert taken.deferred_bindings_enabled
    raw, _ = get_deferred_raw_bindings(door, taken.input_types)
    told = {binding["type"]: binding for binding in map(json.loads, raw)}
    blob = told["blobTrigger"]
    assert blob["properties"] == {"SupportsDeferredBinding": True}
    assert (blob["path"], blob["connection"]) == (
        "batch-inputs/{name}.jsonl",
        "AzureWebJobsStorage",
    )
    assert blob["source"] == "EventGrid"
    assert "durableClient" in told


def test_what_the_host_sends_becomes_a_reference():
    content = {"Connection": "C", "ContainerName": "batch-inputs", "BlobName": "a/june 1.jsonl"}
    sent = SimpleNamespace(version="1.0", source="AzureStorageBlobs", content=json.dumps(content))
    blob = deferred_bindings_decode(
        get_binding("blobTrigger", True),
        None,
        pytype=BlobReference,
        datum=Datum(sent, "model_binding_data"),
        metadata={},
        function_name="receive_batch_blob",
    )
    assert isinstance(blob, BlobReference)
    assert (blob.container, blob.name) == ("batch-inputs", "a/june 1.jsonl")


def test_content_is_refused():
    with pytest.raises(ValueError, match="reference"):
        get_binding("blobTrigger", True).decode(Datum(b"x", "bytes"), trigger_metadata={})
