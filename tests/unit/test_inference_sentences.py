"""How the extractive chat model reads a prompt."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

SOURCE = Path(__file__).parents[2] / "infra" / "models" / "minilm" / "sentences.py"


def _load():
    """By path: the scoring scripts' root is not on this project's sys.path."""
    spec = importlib.util.spec_from_file_location("minilm_sentences", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


sentences = _load()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It is 6,400.5 km long. So it is.", ["It is 6,400.5 km long.", "So it is."]),
        ("Dr. Smith met Mr. Jones. They left.", ["Dr. Smith met Mr. Jones.", "They left."]),
        ('"Stop!" He ran. (I did not.) End', ['"Stop!"', "He ran.", "(I did not.)", "End"]),
        ("A line\nthat goes on. Next", ["A line that goes on.", "Next"]),
        ("A heading:\n\n- one thing\n- another thing", ["one thing", "another thing"]),
        ("[1] First. Still first.\n[2] Second.", ["First.", "Still first.", "Second."]),
        ("No end", ["No end"]),
        (" \n\n...\n", []),
        ("", []),
    ],
)  # fmt: skip
def test_split(text, expected):
    assert sentences.split(text) == expected


@given(st.text(alphabet="abC .!?\n\"'()1"))
def test_sentences_are_quoted_from_the_text_in_its_order(text):
    flat = " ".join(text.split())
    at = 0
    for sentence in sentences.split(text):
        at = flat.index(" ".join(sentence.split()), at)


def test_a_question_is_told_from_what_may_be_quoted():
    prompt = sentences.read_prompt(
        "Answer in one or two sentences.",
        "Question: How high is it?\n\nDocuments:\n\nIt is 300 m high. It is old.\n\nBread is food.",
    )
    assert prompt.question == "How high is it?"
    assert prompt.sentences == ["It is 300 m high.", "It is old.", "Bread is food."]
    assert prompt.word_limit is None


@pytest.mark.parametrize(
    ("instruction", "limit"),
    [
        ("Summarise the text in at most 60 words.", 60),
        ("Use no more than 5 words, please.", 5),
        ("Say it in a few words.", None),
    ],
)
def test_a_word_limit_is_read_from_the_instructions(instruction, limit):
    assert sentences.read_prompt(instruction, "Some text.").word_limit == limit
