"""Who may take a call, and in which order they are asked.

By priority, then the caller's region first, then by weight: each deployment draws u in (0, 1] and
is placed by -log(u) / weight, so that the first place falls to each in proportion to its weight,
and so do the next among the rest (weighted sampling without replacement; Efraimidis and Spirakis,
2006). With a sticky key u is a hash of key and name instead of chance: the same key meets the same
deployment, and when weights change as few keys as possible move (weighted rendezvous hashing).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import log
from random import random
from typing import Protocol


class Selectable(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str | None: ...
    @property
    def region(self) -> str | None: ...
    @property
    def priority(self) -> int: ...
    @property
    def weight(self) -> float: ...


def order[D: Selectable](
    deployments: Sequence[D], *, region: str | None = None, sticky_key: str | None = None
) -> list[D]:
    """The deployments that have a weight, first choice first."""
    if len(deployments) == 1:
        return [deployments[0]] if deployments[0].weight > 0 else []
    placed = [
        (
            each.priority,
            region is not None and each.region != region,
            -log(_hashed(sticky_key, each.name) if sticky_key else 1.0 - random()) / each.weight,  # noqa: S311
            index,
        )
        for index, each in enumerate(deployments)
        if each.weight > 0
    ]
    placed.sort()
    return [deployments[place[3]] for place in placed]


def pinned[D: Selectable](deployments: Sequence[D], pin: str) -> list[D]:
    """Those of that version, else the one of that name; a weight of zero does not matter."""
    of_version = [each for each in deployments if each.version == pin]
    return of_version or [each for each in deployments if each.name == pin]


def _hashed(key: str, name: str) -> float:
    """Evenly spread over (0, 1], the same in every process."""
    digest = blake2b(f"{name}\0{key}".encode(), digest_size=7).digest()
    return (int.from_bytes(digest) + 1) / 2**56
