"""A streamed answer comes back as a whole one would, however it is cut."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from endpoints.sse import EventReader
from policies.privacy.events import EventRestorer
from policies.privacy.placeholders import Placeholders

VALUES = {"jane@example.com": "email", "+49 30 1234567": "phone", 'a "quoted\\" one': "quote"}


def placeholders() -> Placeholders:
    made = Placeholders()
    for value, kind in VALUES.items():
        made.of(value, kind)
    return made


def event(data, name: str | None = None) -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def chunk(index=0, finish=None, **delta) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return event({"id": "c", "object": "chat.completion.chunk", "choices": [choice]})


DONE = event("[DONE]")


def read(stream: bytes):
    """The data of the events of a stream."""
    assert stream.endswith(b"\n\n") or not stream
    for text in stream.decode().split("\n\n")[:-1]:
        [data] = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
        yield data if data == "[DONE]" else json.loads(data)


def chat_texts(stream: bytes):
    """What a client puts together, by choice and field."""
    texts: dict = {}
    for data in read(stream):
        for choice in data["choices"] if data != "[DONE]" else ():
            delta = choice["delta"]
            for field in ("content", "refusal"):
                key = (choice["index"], field)
                texts[key] = texts.get(key, "") + (delta.get(field) or "")
            for call in delta.get("tool_calls", ()):
                key = (choice["index"], "tool", call["index"])
                texts[key] = texts.get(key, "") + call["function"].get("arguments", "")
    return {key: text for key, text in texts.items() if text}


def passed(pieces) -> bytes:
    """Through the reader of events and the restorer, as an answer goes."""
    reader, restorer = EventReader(hide_usage=False), EventRestorer(placeholders())
    out = [restorer.feed(events) for piece in pieces if (events := reader.feed(piece))]
    return b"".join([*out, restorer.feed(reader.end()), restorer.end()])


def cut(data, text: str | bytes):
    """The text in pieces, of any sizes."""
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


WORDS = st.sampled_from(
    [
        "<EMAIL_1>",
        "<PHONE_1>",
        "<QUOTE_1>",
        "<EMAIL_2>",
        "<",
        "<EM",
        "<EMAIL_1",
        ">",
        "_1>",
        "a",
        " ",
        "é",
        "{",
        '"',
        "<<EMAIL_1>>",
        "\n",
    ]
)
TEXTS = st.lists(WORDS, max_size=8).map("".join)


@settings(max_examples=300)
@given(st.data(), TEXTS, TEXTS, st.booleans(), st.booleans())
def test_any_chunking_of_a_chat_equals_the_whole(data, first, second, finishes, ends):
    pieces = [(0, piece) for piece in cut(data, first)]
    pieces += [(1, piece) for piece in cut(data, second)]
    order = range(len(pieces))
    stream = b"".join(chunk(pieces[n][0], content=pieces[n][1]) for n in order)
    if finishes:
        stream += chunk(0, "stop") + chunk(1, "stop", content="")
    if ends:
        stream += DONE
    whole = placeholders()
    expected = {
        (n, "content"): whole.restored(text) for n, text in enumerate((first, second)) if text
    }
    assert chat_texts(passed(cut(data, stream))) == expected


@given(st.data(), TEXTS)
def test_any_chunking_of_a_tools_arguments_stays_json(data, text):
    arguments = json.dumps({"said": text}, ensure_ascii=False)
    stream = b"".join(
        chunk(tool_calls=[{"index": 0, "function": {"arguments": piece}}])
        for piece in cut(data, arguments)
    )
    stream += chunk(finish="tool_calls") + DONE
    [restored] = chat_texts(passed(cut(data, stream))).values()
    assert json.loads(restored) == {"said": placeholders().restored(text, in_json=False)}


def response_events(pieces, text):
    sequence = iter(range(1000))
    where = {"item_id": "m", "output_index": 0, "content_index": 0}

    def one(kind, **fields):
        return event({"type": kind, "sequence_number": next(sequence), **fields}, kind)

    yield one("response.created", response={"id": "r"})
    for piece in pieces:
        yield one("response.output_text.delta", **where, delta=piece)
    yield one("response.output_text.done", **where, text=text)
    yield one("response.completed", response={"output": [{"content": [{"text": text}]}]})


@settings(max_examples=300)
@given(st.data(), TEXTS)
def test_any_chunking_of_a_response_equals_the_whole(data, text):
    stream = b"".join(response_events(cut(data, text), text))
    events = list(read(passed(cut(data, stream))))
    deltas = [each["delta"] for each in events if each["type"].endswith(".delta")]
    whole = placeholders().restored(text)
    assert "".join(deltas) == whole
    assert events[-2]["text"] == whole
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == whole
    assert [each["sequence_number"] for each in events] == list(range(len(events)))


def test_no_more_is_kept_back_than_may_be_a_placeholder():
    restorer = EventRestorer(placeholders())
    out = restorer.feed(chunk(content="Dear <EMA"))
    assert chat_texts(out) == {(0, "content"): "Dear "}
    assert chat_texts(restorer.feed(chunk(content="IL"))) == {}
    assert chat_texts(restorer.feed(chunk(content="_1>, hi"))) == {
        (0, "content"): "jane@example.com, hi"
    }


def test_what_holds_no_placeholder_passes_byte_by_byte():
    stream = b': a comment\n\ndata:   {"choices" : []}\r\n\r\ndata: [DONE]\n\n'
    assert passed([stream]) == stream


def test_an_escaped_bracket_is_understood():
    stream = b'data: {"choices":[{"index":0,"delta":{"content":"\\u003cEMAIL_1\\u003e"}}]}\n\n'
    assert chat_texts(passed([stream])) == {(0, "content"): "jane@example.com"}


def test_a_completion_of_the_old_kind():
    pieces = ["to <EMA", "IL_1> n", "ow <PH"]
    stream = b"".join(event({"choices": [{"index": 0, "text": piece}]}) for piece in pieces) + DONE
    data = list(read(passed([stream])))
    texts = [choice["text"] for each in data if each != "[DONE]" for choice in each["choices"]]
    assert "".join(texts) == "to jane@example.com now <PH"
    assert data[-1] == "[DONE]"


def test_other_events_are_restored_one_by_one():
    assert list(read(passed([event({"anything": ["<EMAIL_1>"]})]))) == [
        {"anything": ["jane@example.com"]}
    ]
