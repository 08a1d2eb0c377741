"""How alike two answers are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from endpoints.similarity import similarity


def chat(text: str) -> JsonValue:
    return {"id": text[:1], "choices": [{"message": {"role": "assistant", "content": text}}]}


def embedding(*numbers: JsonValue) -> JsonValue:
    return {"data": [{"embedding": list(numbers)}], "model": str(len(numbers))}


def test_texts_by_the_words_they_share():
    assert similarity(chat("Yes it is"), chat("yes It  is")) == 1
    assert similarity(chat("a b c d"), chat("a b c x")) == pytest.approx(0.75)
    assert similarity(chat("a b"), chat("c d")) == 0
    assert similarity(chat("no no no no"), chat("no")) == pytest.approx(0.4)
    assert similarity(chat(""), chat("   ")) == 1


def test_embeddings_by_their_direction():
    assert similarity(embedding(1.0, 2.0), embedding(2.0, 4.0)) == pytest.approx(1)
    assert similarity(embedding(1.0, 0.0), embedding(0.0, 1.0)) == 0
    assert similarity(embedding(1.0, 0.0), embedding(-1.0, 0.0)) == 0
    assert similarity(embedding(1.0), embedding(1.0, 0.0)) == 0
    assert similarity(embedding(3, 4.0), embedding(3.0, 4)) == 1


def test_all_else_by_equality():
    assert similarity({"label": "b"}, {"label": "b"}) == 1
    assert similarity({"label": "b"}, {"label": "c"}) == 0
    assert similarity(chat("x"), embedding(1.0)) == 0


answers = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.text(max_size=30).map(chat)
        | st.lists(inner, max_size=3).map(lambda numbers: embedding(*numbers))
        | st.dictionaries(st.sampled_from(["choices", "data", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(one=answers, other=answers)
def test_of_any_two_answers_between_none_and_all_and_the_same_either_way(one, other):
    """Whatever a shadow answers, the comparison comes about."""
    alike = similarity(one, other)
    assert 0 <= alike <= 1
    assert alike == pytest.approx(similarity(other, one))


@given(text=st.text())
def test_an_answer_is_like_itself(text):
    assert similarity(chat(text), chat(text)) == 1
