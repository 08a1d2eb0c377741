"""An error's text for places where callers' own words must not stand: properties of messages, logs.

What a caller wrote is quoted in `detail` for that caller to recognise it: names that do not exist,
fields that nobody knows.
"""

from __future__ import annotations

import re

from contracts.batches import HandedBatch
from contracts.errors import InvalidRequest, SluiceError
from contracts.jobs import JobRequest

_QUOTED = re.compile(r"""(?<!\w)(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")
_KNOWN = frozenset(
    {"(body)", "batch", "specversion", "data", *JobRequest.model_fields, *HandedBatch.model_fields}
)
_HIDDEN = "…"


def aside(error: SluiceError) -> str:
    """The text without what it quotes; of fields only the names of this service's own."""
    if isinstance(error, InvalidRequest) and error.problems:
        return "; ".join(
            f"`{_field(problem.field)}` is not as expected: {_unquoted(problem.expected)}"
            for problem in error.problems
        )
    return _unquoted(error.detail)


def _unquoted(text: str) -> str:
    return _QUOTED.sub(f"'{_HIDDEN}'", text)


def _field(path: str) -> str:
    first, *rest = re.split(r"[.\[]", path)
    if first not in _KNOWN:
        return _HIDDEN
    if not rest:
        return first
    return f"{first}.{rest[0] if rest[0] in _KNOWN and len(rest) == 1 else _HIDDEN}"
