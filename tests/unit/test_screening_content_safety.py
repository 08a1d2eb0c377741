"""Azure AI Content Safety: what it is asked, what its answers mean, and its silence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints.credentials import Token
from endpoints.wire import NoReply, Reply
from policies.screening.content_safety.asking import (
    MOST_ASKS,
    REST_SECONDS,
    ContentSafety,
    Unanswered,
)
from policies.screening.content_safety.contract import MOST_CHARACTERS, OVERLAP, asks
from policies.screening.material import Material, Said
from policies.screening.settings import ContentSafetySettings
from tests.unit.endpoints_fakes import LOST, reply
from tests.unit.screening_fakes import Asked, FakeSafety, harmless

KEY = {"key": "a-key"}
IDENTITY = {"managed_identity": "https://cognitiveservices.azure.com/.default"}


class Clock:
    time = 0.0

    def __call__(self) -> float:
        return self.time


def rules(**fields: Any) -> ContentSafetySettings:
    given = {"decision": "block", "endpoint": "https://r.example", "auth": KEY, **fields}
    return ContentSafetySettings.model_validate(given)


def said(*texts: tuple[str, str]) -> Material:
    return Material([Said(text, role) for role, text in texts], messages=len(texts))


PROMPT = said(("user", "How are you?"))


async def test_it_is_asked_as_its_contract_says():
    wire = FakeSafety()
    safety = ContentSafety(rules(blocklists=["names"]), wire)
    material = said(("system", "Be kind."), ("user", "Hello"), ("tool", "A page"))
    assert await safety.harm(material) is None
    analyzed = [each for each in wire.asked if each.operation == "text:analyze"]
    shielded = [each for each in wire.asked if each.operation == "text:shieldPrompt"]
    assert [each.body["text"] for each in analyzed] == ["Be kind.", "Hello", "A page"]
    assert analyzed[0].body == {
        "text": "Be kind.",
        "categories": ["Hate", "SelfHarm", "Sexual", "Violence"],
        "blocklistNames": ["names"],
        "haltOnBlocklistHit": True,
        "outputType": "FourSeverityLevels",
    }
    assert [each.body for each in shielded] == [
        {"userPrompt": "Hello", "documents": []},
        {"userPrompt": "", "documents": ["A page"]},
    ]
    assert {each.version for each in wire.asked} == {"2024-09-01"}
    assert {each.headers["ocp-apim-subscription-key"] for each in wire.asked} == {"a-key"}
    assert {each.headers["content-type"] for each in wire.asked} == {"application/json"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"categoriesAnalysis": [{"category": "Hate", "severity": 4}]}, "hate"),
        ({"categoriesAnalysis": [{"category": "SelfHarm", "severity": 6}]}, "self_harm"),
        ({"categoriesAnalysis": [{"category": "Violence", "severity": 2}]}, None),
        ({"categoriesAnalysis": [{"category": "Sexual"}]}, None),
        ({"categoriesAnalysis": [{"category": "Tomorrow's", "severity": 6}]}, None),
        ({"blocklistsMatch": [{"blocklistName": "n"}], "categoriesAnalysis": []}, "blocklist"),
    ],
)
async def test_what_an_analysis_means(answer, reason):
    wire = FakeSafety(lambda _: reply(200, answer))
    assert await ContentSafety(rules(prompt_shields=False), wire).harm(PROMPT) == reason


@pytest.mark.parametrize(
    ("prompt", "documents", "reason"),
    [
        (True, [], "prompt_attack"),
        (False, [{"attackDetected": True}], "document_attack"),
        (False, [{"attackDetected": False}], None),
        (False, None, None),
    ],
)
async def test_what_shields_say(prompt, documents, reason):
    answer = {"userPromptAnalysis": {"attackDetected": prompt}, "documentsAnalysis": documents}
    nothing = {"hate": None, "self_harm": None, "sexual": None, "violence": None}
    wire = FakeSafety(lambda _: reply(200, answer))
    assert await ContentSafety(rules(severities=nothing), wire).harm(PROMPT) == reason
    assert wire.operations == ["text:shieldPrompt"]


async def test_what_was_answered_is_not_asked_again():
    wire = FakeSafety()
    safety = ContentSafety(rules(), wire)
    for _ in range(3):
        await safety.harm(PROMPT)
    assert len(wire.asked) == 2
    await safety.harm(said(("user", "How are you!")))
    assert len(wire.asked) == 4


@pytest.mark.parametrize(
    "answer",
    [LOST, reply(500), reply(503), reply(429), reply(401), reply(404), reply(200, "x"),
     reply(200, {}), reply(200, {"categoriesAnalysis": 3}), Reply(200, {}, b"<html>"),
     Reply(200, {}, None)],
)  # fmt: skip
async def test_all_else_is_no_answer(answer):
    with pytest.raises(Unanswered):
        await ContentSafety(rules(), FakeSafety(lambda _: answer)).harm(PROMPT)


async def test_silence_ends_in_time():
    clock, wire = Clock(), FakeSafety(None)
    safety = ContentSafety(rules(timeout_seconds=0.05), wire, now=clock)
    with pytest.raises(Unanswered, match="in time"):
        await safety.harm(PROMPT)
    asked = len(wire.asked)
    with pytest.raises(Unanswered, match="a moment ago"):
        await safety.harm(PROMPT)
    assert len(wire.asked) == asked
    clock.time, wire.answer = REST_SECONDS + 0.1, harmless
    assert await safety.harm(PROMPT) is None


async def test_it_is_left_alone_as_long_as_it_says():
    clock = Clock()
    wire = FakeSafety(lambda _: reply(429, None, retry_after="7"))
    safety = ContentSafety(rules(), wire, now=clock)
    with pytest.raises(Unanswered, match="429"):
        await safety.harm(PROMPT)
    clock.time, wire.answer = 6.9, harmless
    with pytest.raises(Unanswered, match="a moment ago"):
        await safety.harm(PROMPT)
    clock.time = 7.1
    assert await safety.harm(PROMPT) is None


async def test_a_token_is_renewed_once_when_it_is_refused():
    tokens = [Token("old", 4_000_000_000.0), Token("new", 4_000_000_000.0)]

    async def fetch(scope: str) -> Token:
        assert scope == IDENTITY["managed_identity"]
        return tokens.pop(0)

    def answer(asked: Asked) -> Reply | NoReply:
        return harmless(asked) if asked.headers["authorization"] == "Bearer new" else reply(401)

    wire = FakeSafety(answer)
    safety = ContentSafety(rules(auth=IDENTITY, prompt_shields=False), wire, fetch)
    # A token that is no minute old was refused for another reason than its age.
    safety._credential._fetched_at = -1_000_000.0  # type: ignore[attr-defined]
    with pytest.raises(Unanswered, match="401"):
        await safety.harm(PROMPT)
    safety._credential._fetched_at = -1_000_000.0  # type: ignore[attr-defined]
    assert await safety.harm(PROMPT) is None
    assert "ocp-apim-subscription-key" not in wire.asked[-1].headers


async def test_a_text_without_end_is_not_asked_about():
    wire = FakeSafety()
    material = said(("user", "x" * MOST_CHARACTERS * MOST_ASKS))
    with pytest.raises(Unanswered, match="too long"):
        await ContentSafety(rules(), wire).harm(material)
    assert wire.asked == []


@given(st.integers(0, 5 * MOST_CHARACTERS))
def test_a_long_text_is_asked_about_in_pieces_that_leave_nothing_out(length):
    text = "".join(chr(0x100 + n % 5000) for n in range(length))
    settings = rules(prompt_shields=False)
    pieces = [str(each.body["text"]) for each in asks([Said(text)], settings)]
    assert all(len(piece) <= MOST_CHARACTERS for piece in pieces)
    assert pieces[0] + "".join(piece[OVERLAP:] for piece in pieces[1:]) == text


async def test_nothing_is_asked_where_nothing_is_said():
    wire = FakeSafety()
    assert await ContentSafety(rules(), wire).harm(said(("user", " \n"))) is None
    assert wire.asked == []
