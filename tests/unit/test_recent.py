"""What was written lately."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stores.recent import Recent


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.binary(max_size=40)), max_size=60),
    st.integers(1, 100),
)
def test_the_newest_are_kept_within_the_bytes_allowed(writes, most):
    recent = Recent(most)
    written: dict[str, bytes] = {}
    for name, content in writes:
        recent.add(name, content)
        written.pop(name, None)
        written[name] = content
        kept = {name: recent.get(name) for name in written if recent.get(name) is not None}
        assert sum(map(len, kept.values())) <= most
        assert all(written[name] == content for name, content in kept.items())
        if len(content) <= most:
            assert recent.get(name) == content
    dropped = [name for name in written if recent.get(name) is None]
    assert list(written)[: len(dropped)] == dropped, "the oldest go first"
