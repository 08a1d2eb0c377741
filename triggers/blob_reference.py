"""A blob as the host refers to it, for functions that want its name and not its whole content.

The worker has each parameter whose type is a subclass of `SdkType` filled by the converter that is
registered for the binding, and has the host send it a reference. The vendor's own such types are
clients, in a package that imports the SDKs of storage and identity with the app: half a second of
every cold start.
"""

from __future__ import annotations

import json
from typing import Any

from azurefunctions.extensions.base import Datum, InConverter, SdkType


class BlobReference(SdkType):
    """Where the blob is."""

    def __init__(self, container: str, name: str) -> None:
        super().__init__()
        self.container = container
        self.name = name

    def get_sdk_type(self) -> BlobReference:
        return self


class _Converter(InConverter, binding="blob", trigger="blobTrigger"):
    @classmethod
    def check_input_type_annotation(cls, pytype: type) -> bool:
        return issubclass(pytype, BlobReference)

    @classmethod
    def decode(
        cls, data: Datum, *, trigger_metadata: Any, pytype: type = BlobReference
    ) -> BlobReference:
        if data.type != "model_binding_data":
            raise ValueError(f"expected a reference to a blob, not {data.type}")
        told = json.loads(data.value.content)
        return BlobReference(told["ContainerName"], told["BlobName"])

    @classmethod
    def has_implicit_output(cls) -> bool:
        return False
