"""Which ids a file has had so far, in the same memory however many they are."""

from __future__ import annotations

from array import array

_WORD = 2**64 - 1


class Seen:
    """Keeps hashes: of two ids in 100,000 that differ, both in one hash is a chance of 1 in 10^9.

    A set of as many ids of 512 characters would take 60 MB, and one of hashes 8 MB.
    """

    def __init__(self, most: int) -> None:
        """For no more than so many ids."""
        size = 1 << (2 * most).bit_length()
        self._mask = size - 1
        self._table = array("Q", bytes(8 * size))
        """Open addressing; 0 is a free place."""

    def add(self, name: str) -> bool:
        """Whether it is the first of this name."""
        word = hash(name) & _WORD or 1
        table, mask = self._table, self._mask
        place = word & mask
        while (there := table[place]) != 0:
            if there == word:
                return False
            place = (place + 1) & mask
        table[place] = word
        return True
