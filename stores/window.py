"""Names of what was created within a span of time, without a look at all the others.

Ids begin with the time in milliseconds, counted down (`contracts.ids`). All ids of one block of a
thousand seconds begin with the same digits, so a span is listed block by block.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from contracts.ids import is_job_id, new_job_id, time_of
from stores.blobs import Container

DIGITS = 14
BLOCK_DIGITS = 6
PAGE = 1000


async def jobs_between(
    blobs: Container, prefix: str, since: datetime, until: datetime
) -> AsyncIterator[str]:
    """Ids of jobs, names below `prefix`, that were accepted from `since` on and before `until`.

    Newest block first.
    """
    for block in range(_block(until), _block(since) + 1):
        head = f"job_{block:0{DIGITS - BLOCK_DIGITS}d}"
        token = None
        while True:
            page = await blobs.page(prefix + head, token=token, most=PAGE)
            for name in page.names:
                made = head + name
                if is_job_id(made) and since <= time_of(made) < until:
                    yield made
            token = page.token
            if token is None:
                break


def _block(at: datetime) -> int:
    return int(new_job_id(at).removeprefix("job_")[: DIGITS - BLOCK_DIGITS])
