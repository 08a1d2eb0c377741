"""Which blobs have been given to which function, kept in a file: each version once."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from devhost.functions_host.json_config import read_section

logger = logging.getLogger("sluice.functions_host")


class BlobReceipts:
    """Etags by function and blob. Without a file they are kept as long as the process lasts."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._etags: dict[str, dict[str, str]] = {}
        if file is not None:
            section = read_section(file)
            for function in section.values:
                blobs = section.section(function)
                self._etags[function] = {name: blobs.text(name, "") for name in blobs.values}

    def has(self, function: str, blob: str, etag: str) -> bool:
        return self._etags.get(function, {}).get(blob) == etag

    def add(self, function: str, blob: str, etag: str) -> None:
        self._etags.setdefault(function, {})[blob] = etag
        self._write()

    def keep(self, function: str, blobs: Mapping[str, str]) -> None:
        """Forget those that are no longer there."""
        before = self._etags.get(function, {})
        left = {blob: etag for blob, etag in before.items() if blob in blobs}
        if len(left) < len(before):
            self._etags[function] = left
            self._write()

    def _write(self) -> None:
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            partial = self._file.with_name(f"{self._file.name}.partial")
            partial.write_text(json.dumps(self._etags))
            partial.replace(self._file)
        except OSError as error:  # at worst a blob is given to its function once more
            logger.error("The blobs that were handled cannot be noted: %s", error)
