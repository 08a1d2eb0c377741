"""The ids of a file, told apart as a set would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batches.seen import Seen


@given(names=st.lists(st.text(max_size=3), max_size=200))
def test_it_tells_what_a_set_tells(names):
    seen, model = Seen(200), set()
    for name in names:
        assert seen.add(name) is (name not in model)
        model.add(name)


def test_as_many_as_it_is_for():
    seen = Seen(5000)
    assert all(seen.add(f"r{n}") for n in range(5000))
    assert not any(seen.add(f"r{n}") for n in range(5000))
