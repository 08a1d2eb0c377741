"""What is read of a request, and what is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from policies.screening.material import OVERLAP, PIECE, Said, of_call, of_input, of_job

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "type", "text", "content", "x"]), inner, max_size=4
        )
    ),
    max_leaves=20,
)


def test_a_chat_is_read_message_by_message():
    said = of_call(
        {
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": [{"type": "text", "text": "One"}, {"text": "two"}]},
                {"role": "tool", "tool_call_id": "c-1", "content": "Three"},
            ],
            "tools": [{"function": {"description": "not read"}}],
            "user": "not read",
        }
    )
    assert [(each.role, each.text) for each in said.texts] == [
        ("system", "Be kind."),
        ("user", "One\ntwo"),
        ("tool", "Three"),
    ]
    assert (said.messages, said.attachments, said.characters) == (3, 0, 20)
    assert [each.by_owner for each in said.texts] == [True, False, False]
    assert [each.is_document for each in said.texts] == [False, False, True]


def test_a_response_is_read_with_its_instructions():
    said = of_call(
        {
            "instructions": "Be kind.",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "One"}]},
                {"type": "function_call_output", "call_id": "c-1", "output": "Two"},
            ],
        }
    )
    assert [(each.by_owner, each.is_document, each.text) for each in said.texts] == [
        (False, False, "One"),
        (False, True, "Two"),
        (True, False, "Be kind."),
    ]


def test_texts_to_embed_are_read():
    assert [each.text for each in of_call({"input": "One"}).texts] == ["One"]
    assert [each.text for each in of_call({"input": ["One", "Two"]}).texts] == ["One", "Two"]
    assert of_call({"input": [1, 2, 3]}).texts == []


def test_attachments_are_counted_and_not_read():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    said = of_call({"messages": [{"role": "user", "content": [image, image, {"text": "Look"}]}]})
    assert said.attachments == 2
    assert [each.text for each in said.texts] == ["Look"]


def test_of_a_flows_input_all_is_read_whatever_its_fields_are_called():
    said = of_input({"role": "system", "messages": [], "type": {"deep": ["a", {"b": "c"}]}, "n": 1})
    assert [(each.role, each.text) for each in said.texts] == [("user", "system\na\nc")]


def test_a_flow_of_the_apps_own_takes_a_body_of_the_openai_api():
    body = {"messages": [{"role": "system", "content": "x"}], "user": "y"}
    assert [each.text for each in of_job("chat.completions", body).texts] == ["x"]
    assert [each.text for each in of_job("chat", body).texts] == ["system\nx\ny"]


def test_depth_is_no_danger():
    deep: object = "end"
    for _ in range(50_000):
        deep = [deep]
    assert [each.text for each in of_input(deep).texts] == ["end"]  # type: ignore[arg-type]
    assert of_call({"messages": [deep]}).texts[0].text == "end"  # type: ignore[list-item]


@given(JSON)
def test_anything_can_be_read(value):
    for material in (of_input(value), of_call(value), of_call({"messages": value, "input": value})):
        assert material.characters >= 0
        assert all(isinstance(each.text, str) for each in material.texts)


@given(st.integers(0, 5 * PIECE))
def test_the_pieces_of_a_text_leave_nothing_out(length):
    text = "".join(chr(0x100 + n % 5000) for n in range(length))
    pieces = [each.text for each in Said(text).pieces()]
    assert all(len(piece) <= PIECE for piece in pieces)
    rebuilt = pieces[0] + "".join(piece[OVERLAP:] for piece in pieces[1:])
    assert rebuilt == text
