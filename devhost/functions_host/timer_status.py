"""When each timer ran last, kept in a file: so a run missed while the host was down is known."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from pathlib import Path

from devhost.functions_host.json_config import read_section

logger = logging.getLogger("sluice.functions_host")


class TimerStatus:
    """The last due time of each timer. Without a file it is kept as long as the process lasts."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._last: dict[str, datetime] = {}
        if file is not None:
            section = read_section(file)
            self._last = {
                name: datetime.fromisoformat(section.text(name, "")) for name in section.values
            }

    def last(self, timer: str) -> datetime | None:
        return self._last.get(timer)

    def record(self, timer: str, due: datetime) -> None:
        self._last[timer] = due
        if self._file is None:
            return
        try:
            self._write(self._file)
        except OSError as error:  # the timers go on; at worst one makes up for a run it had
            logger.error("The last runs of the timers cannot be noted: %s", error)

    def _write(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.partial")
        partial.write_text(json.dumps({name: at.isoformat() for name, at in self._last.items()}))
        partial.replace(file)
