"""What a driver's error means, as the HTTP reply that means the same.

mssql-python tells neither the server's error number nor the SQLSTATE, only texts: its own, which
stands for the SQLSTATE, and the server's, in the language of the login (English unless changed). So
the numbers below are found by their texts. No text passes on: a server's may quote a row.

    401, 403, 404    unusable: login, permission, firewall, a name of the settings
    429              throttled, or a pool that is paused or waking, with the seconds to wait
    400              the rows, or the statement that the settings make
    503              a failover, a deadlock, what is unknown here: a later try may fare better
"""

from __future__ import annotations

import json
import re

from endpoints.wire import NoReply, Reply

BUSY_SECONDS = 10
"""What 40501 asks for; the others name no time."""
ASLEEP_SECONDS = 60
"""A dedicated pool takes minutes to resume."""

_KNOWN = (
    (18456, 401, r"Login failed"),
    (4060, 403, r"Cannot open database"),
    (40615, 403, r"is not allowed to access the server"),
    (916, 403, r"is not able to access the database"),
    (229, 403, r"permission was denied"),
    (208, 404, r"Invalid object name"),
    (207, 404, r"Invalid column name"),
    (10928, 429, r"Resource ID ?: ?\d+\. The .* limit for the database"),
    (10929, 429, r"too busy to support requests"),
    (40501, 429, r"service is currently busy"),
    (49918, 429, r"Not enough resources to process"),
    (49919, 429, r"Too many create or update operations"),
    (49920, 429, r"Too many operations in progress"),
    (42108, 429, r"SQL pool since it is paused"),
    (42109, 429, r"SQL pool is warming up"),
    (40613, 503, r"is not currently available"),
    (40197, 503, r"encountered an error processing your request"),
    (1205, 503, r"deadlock victim"),
    (102, 400, r"Incorrect syntax near"),
    (245, 400, r"Conversion failed when converting"),
    (8114, 400, r"Error converting data type"),
    (8115, 400, r"Arithmetic overflow"),
    (13609, 400, r"JSON text is not properly formatted"),
    (2628, 400, r"data would be truncated"),
    (39051, 400, r"builtin function 'PREDICT'"),
)
_TABLE = [(number, status, re.compile(text)) for number, status, text in _KNOWN]
_ASLEEP = frozenset({42108, 42109})
_SERVER = "[SQL Server]"
"""Stands before what the server itself says."""


def of(error: Exception, *, sent: bool) -> Reply | NoReply:
    """`sent`: whether the statement had been handed to the driver."""
    said = str(getattr(error, "ddbc_error", ""))
    own = str(getattr(error, "driver_error", ""))
    if _SERVER in said:
        return _of_server(said, own, type(error).__name__)
    if "Failed to load the driver" in said:
        return reply(403, "driver_lacks_a_system_library")
    if "timeout" in f"{own} {said}".lower():
        return NoReply(sent, "timed out waiting for the answer" if sent else "timed out connecting")
    if sent:
        return NoReply(sent=True, reason="connection lost after the statement was sent")
    return NoReply(sent=False, reason="connection failed")


def reply(status: int, code: str, wait: int | None = None) -> Reply:
    """An error of the OpenAI shape, whose code endpoints/verdicts.py reads."""
    headers = {} if wait is None else {"retry-after": str(wait)}
    return Reply(status, headers, json.dumps({"error": {"code": code}}).encode())


def _of_server(said: str, own: str, kind: str) -> Reply:
    for number, status, text in _TABLE:
        if text.search(said):
            wait = ASLEEP_SECONDS if number in _ASLEEP else BUSY_SECONDS
            return reply(status, f"SQL_{number}", wait if status == 429 else None)
    if own == "Invalid authorization specification":
        return reply(401, "SQL_login")
    return reply(400 if kind == "DataError" else 503, "SQL_error")
