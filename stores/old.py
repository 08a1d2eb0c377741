"""Names of what was created before a time, without a look at all that came after.

Ids begin with the time in milliseconds, counted down: the older a thing is, the larger its number.
All numbers above another one are those that begin with its first digits and a larger next one, so
that is what is listed, to some days' precision.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime

from contracts.ids import new_job_id, time_of
from stores.blobs import Container

PAGE = 1000
DIGITS = 14
COARSE = 6
"""Leading digits that are looked at: those after them tell less than two days apart."""

type IsId = Callable[[str], bool]


async def old_names(
    blobs: Container, prefix: str, kind: str, is_id: IsId, before: datetime
) -> AsyncIterator[list[str]]:
    """Pages of ids, names below `prefix`, of things created before then. `kind` is what each id
    begins with. They may be deleted as they come."""

    def old(names: list[str], head: str = "") -> list[str]:
        ids = (head + name for name in names)
        return [each for each in ids if is_id(each) and time_of(each) < before]

    first = await blobs.page(prefix, token=None, most=PAGE)
    if first.token is None:
        yield old(first.names)
        return
    for head in _heads(kind, before):
        token = None
        while True:
            page = await blobs.page(prefix + head, token=token, most=PAGE)
            if found := old(page.names, head):
                yield found
            token = page.token
            if token is None:
                break


def _heads(kind: str, before: datetime) -> Iterator[str]:
    number = new_job_id(before).removeprefix("job_")[:DIGITS]
    yield kind + number[:COARSE]
    for length in range(COARSE - 1, -1, -1):
        for larger in range(int(number[length]) + 1, 10):
            yield f"{kind}{number[:length]}{larger}"
