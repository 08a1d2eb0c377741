"""`Prefer: wait=N` as RFC 7240 writes it."""

import pytest

from triggers.prefer import LONGEST_WAIT_SECONDS, preferred_wait


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("wait=10", 10),
        ("Wait = 10", 10),
        ('wait="10"', 10),
        ("respond-async, wait=10", 10),
        ("wait=10; strict=yes", 10),
        ("wait=3, wait=9", 3),
        ("wait=99999", LONGEST_WAIT_SECONDS),
        ("wait=0", 0),
        ("wait=-1", None),
        ("wait=ten", None),
        ("wait", None),
        ("waiter=10", None),
        ("wait=" + "9" * 5000, None),
    ],
)
def test_the_wait_that_is_preferred(header, seconds):
    assert preferred_wait(header) == seconds
