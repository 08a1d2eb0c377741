"""When each timer ran last, kept in a file: so a run missed while the host was down is known."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from devhost.functions_host.json_config import read_section


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
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_name(f"{self._file.name}.partial")
        partial.write_text(json.dumps({name: at.isoformat() for name, at in self._last.items()}))
        partial.replace(self._file)
