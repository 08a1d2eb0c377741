"""The Prefer header (RFC 7240), as far as this API honours it: `wait=SECONDS`."""

from __future__ import annotations

import re

LONGEST_WAIT_SECONDS = 100
"""Azure's front ends give up on a request after 230 s; many clients and proxies after 120 s."""

_WAIT = re.compile(r'\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:;.*)?', re.IGNORECASE)


def preferred_wait(header: str | None) -> int | None:
    """The seconds to wait, at most LONGEST_WAIT_SECONDS; None when no wait is preferred.

    A preference that is not understood is ignored, as RFC 7240 section 2 asks; of several
    the first counts.
    """
    for preference in (header or "").split(","):
        if found := _WAIT.fullmatch(preference):
            return min(int(found[1]), LONGEST_WAIT_SECONDS)
    return None
