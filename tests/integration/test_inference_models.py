"""The shipped scoring scripts on Azure ML's own inference server, behind the front."""

from __future__ import annotations

import base64
import json
import struct

import aiohttp
import pytest
from openai import AsyncOpenAI

from devhost.demo.cases import DIFFERENT, DOCUMENTS, SIMILAR, TEXT, cosine


class Models:
    def __init__(self, stack, session: aiohttp.ClientSession) -> None:
        self._stack = stack
        self._session = session

    async def ask(self, endpoint: str, body: object) -> tuple[int, dict, dict]:
        url = self._stack.endpoints[endpoint]
        if endpoint == "chat":
            url += "/chat/completions"
        headers = {"Authorization": f"Bearer {self._stack.endpoint_keys[endpoint]}"}
        async with self._session.post(url, json=body, headers=headers) as response:
            return response.status, dict(response.headers), json.loads(await response.text())

    async def chat(self, user: str, system: str = "Be brief.", **body: object) -> dict:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        status, _, answer = await self.ask("chat", {"messages": messages, **body})
        assert status == 200, answer
        return answer


@pytest.fixture(scope="module")
async def models(stack):
    async with aiohttp.ClientSession() as session:
        yield Models(stack, session)


async def test_embeddings_are_those_of_the_published_model(models):
    status, _, answer = await models.ask("embed", {"input": "This is an example sentence"})

    assert status == 200
    [entry] = answer["data"]
    # The first numbers that sentence-transformers publishes for this sentence.
    assert entry["embedding"][:4] == pytest.approx(
        [0.0676569, 0.0634959, 0.0487131, 0.0793050], abs=1e-5
    )
    assert len(entry["embedding"]) == 384
    assert answer["usage"] == {"prompt_tokens": 5, "total_tokens": 5}


async def test_embeddings_keep_the_order_and_the_meaning(models):
    long = "word " * 300
    texts = [SIMILAR[0], long, SIMILAR[1], DIFFERENT]
    _, _, answer = await models.ask("embed", {"input": texts})

    assert [entry["index"] for entry in answer["data"]] == [0, 1, 2, 3]
    one, _, like, unlike = (entry["embedding"] for entry in answer["data"])
    assert cosine(one, like) > 0.5 > cosine(one, unlike)
    _, _, alone = await models.ask("embed", {"input": [SIMILAR[0]]})
    assert alone["data"][0]["embedding"] == pytest.approx(one, abs=1e-5)


async def test_embeddings_in_base64_are_the_same(models):
    _, _, plain = await models.ask("embed", {"input": "a"})
    _, _, packed = await models.ask("embed", {"input": "a", "encoding_format": "base64"})

    raw = base64.b64decode(packed["data"][0]["embedding"])
    assert list(struct.unpack("<384f", raw)) == pytest.approx(plain["data"][0]["embedding"])


@pytest.mark.parametrize(
    ("endpoint", "body", "field"),
    [
        ("embed", {}, "input"),
        ("embed", {"input": []}, "input"),
        ("embed", {"input": [""]}, "input[0]"),
        ("embed", {"input": ["a"] * 2049}, "input"),
        ("embed", {"input": "a", "dimensions": 5}, "dimensions"),
        ("embed", [], "body"),
        ("classifier", {"text": "a"}, "labels"),
        ("classifier", {"text": "a", "labels": ["b", "b"]}, "labels"),
        ("classifier", {"text": "a", "labels": ["b"], "examples": {"c": ["d"]}}, "examples"),
    ],
)
async def test_wrong_input_is_a_400_inside_a_424(models, endpoint, body, field):
    status, headers, answer = await models.ask(endpoint, body)

    assert status == 424
    assert headers["ms-azureml-model-error-statuscode"] == "400"
    assert answer["error"]["param"] == field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages"),
        ({"messages": [{"content": "a"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "a"}], "max_tokens": 0}, "max_tokens"),
        ({"messages": [{"role": "user", "content": "a"}], "stream": True}, "stream"),
        ({"messages": [{"role": "user", "content": "a. " * 20_000}]}, "messages"),
    ],
)
async def test_wrong_chat_input_is_a_400(models, body, field):
    status, _, answer = await models.ask("chat", body)

    assert status == 400
    assert answer["error"]["param"] == field


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("The striker scored twice in the final.", "sport"),
        ("Fry the onions until they are golden.", "cooking"),
        ("Parliament passed the budget.", "politics"),
    ],
)
async def test_the_classifier_knows_labels_by_their_names(models, text, label):
    body = {"text": text, "labels": ["sport", "cooking", "politics"]}
    _, _, answer = await models.ask("classifier", body)

    assert answer["label"] == label
    assert sum(answer["scores"].values()) == pytest.approx(1)
    assert max(answer["scores"], key=answer["scores"].get) == label


async def test_examples_teach_the_classifier_a_name_that_says_nothing(models):
    body = {
        "text": "The parcel never arrived.",
        "labels": ["queue A", "queue B"],
        "examples": {
            "queue A": ["My card was charged twice.", "The invoice is wrong."],
            "queue B": ["Where is my package?", "The courier lost my delivery."],
        },
    }
    _, _, answer = await models.ask("classifier", body)
    assert answer["label"] == "queue B"


@pytest.mark.parametrize(
    ("question", "fact"),
    [
        ("How high is Mount Kilimanjaro?", "5,895"),
        ("How long is the Amazon?", "6,400"),
        ("Which lake is the deepest?", "1,642"),
    ],
)
async def test_chat_answers_a_question_with_the_sentence_that_does(models, question, fact):
    answer = await models.chat(f"Question: {question}\n\nDocuments:\n\n" + "\n\n".join(DOCUMENTS))

    [choice] = answer["choices"]
    assert fact in choice["message"]["content"]
    assert choice["finish_reason"] == "stop"


async def test_chat_says_so_when_nothing_answers(models):
    answer = await models.chat("Question: Who won the chess game?\n\nDocuments:\n\nFry the onions.")
    assert answer["choices"][0]["message"]["content"] == "The text does not say."


@pytest.mark.parametrize("limit", [10, 25, 60])
async def test_chat_summarises_with_sentences_of_the_text_within_the_words_allowed(models, limit):
    answer = await models.chat(TEXT, system=f"Summarise the text in at most {limit} words.")

    summary = answer["choices"][0]["message"]["content"]
    assert 0 < len(summary.split()) <= limit
    source = " ".join(TEXT.split())
    assert all(part.rstrip(".") in source for part in summary.split(". "))


async def test_chat_keeps_within_max_tokens_and_says_so(models):
    answer = await models.chat(TEXT, max_tokens=5)

    assert answer["choices"][0]["finish_reason"] == "length"
    assert 0 < answer["usage"]["completion_tokens"] <= 5
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_openais_own_client_is_answered(models, stack):
    keys = stack.endpoint_keys
    async with AsyncOpenAI(base_url=stack.endpoints["chat"], api_key=keys["chat"]) as client:
        chat = await client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "Cats purr. Dogs bark."}]
        )
    base = stack.endpoints["embed"].removesuffix("score") + "v1"
    async with AsyncOpenAI(base_url=base, api_key=keys["embed"]) as client:
        embeddings = await client.embeddings.create(model="any", input=["a", "b"])

    assert chat.choices[0].message.content in ("Cats purr.", "Dogs bark.")
    assert [len(entry.embedding) for entry in embeddings.data] == [384, 384]
