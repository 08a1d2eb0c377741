"""Which key opens what."""

from __future__ import annotations

import pytest

from devhost.functions_host.keys import Access, Keys, presented_key

KEYS = Keys(function="f", system="s", master="m")


@pytest.mark.parametrize(
    ("access", "opens"),
    [
        (Access.ANONYMOUS, {"f", "s", "m", "x", None}),
        (Access.FUNCTION, {"f", "m"}),
        (Access.SYSTEM, {"s", "m"}),
        (Access.ADMIN, {"m"}),
    ],
)
def test_each_level_has_its_keys(access, opens):
    assert {key for key in ("f", "s", "m", "x", "", "é", None) if KEYS.permit(access, key)} == (
        opens | ({"", "é"} if access is Access.ANONYMOUS else set())
    )


def test_one_key_can_stand_for_all():
    assert all(Keys.single("k").permit(access, "k") for access in Access)


def test_the_header_goes_before_the_query():
    assert presented_key({"x-functions-key": "h"}, {"code": "q"}) == "h"
    assert presented_key({}, {"code": "q"}) == "q"
    assert presented_key({}, {}) is None
