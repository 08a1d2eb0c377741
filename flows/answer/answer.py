"""Answer a question from documents: embed them all, rank by nearness, ask about the nearest."""

import math
from typing import Any, TypedDict

import aiohttp
from promptflow.connections import OpenAIConnection

INSTRUCTIONS = (
    "Answer the user's question from the documents that follow it, in one or two sentences. "
    "If they do not hold the answer, say that they do not."
)

MOST_SOURCES = 3


class Answered(TypedDict):
    # PromptFlow's interface has `list`, not `list[int]`, here and in the parameters.
    answer: str
    sources: list


class Answer:
    """Answers a question from the documents that are nearest to it."""

    def __init__(
        self,
        embed: OpenAIConnection,
        chat: OpenAIConnection,
        embed_model: str = "text-embedding-3-small",
        chat_model: str = "gpt-4o-mini",
    ) -> None:
        self.embed = embed
        self.chat = chat
        self.embed_model = embed_model
        self.chat_model = chat_model

    async def __call__(self, question: str, documents: list) -> Answered:
        """The answer, and which documents it was asked from: their indexes, nearest first."""
        async with aiohttp.ClientSession(raise_for_status=True) as session:
            sources = await self._nearest(session, question, documents)
            answer = await self._ask(session, question, [documents[i] for i in sources])
        return Answered(answer=answer, sources=sources)

    async def _nearest(
        self, session: aiohttp.ClientSession, question: str, documents: list[str]
    ) -> list[int]:
        if not documents:
            return []
        body = {"model": self.embed_model, "input": [question, *documents]}
        data = (await _post(session, self.embed, "embeddings", body))["data"]
        vectors = [entry["embedding"] for entry in sorted(data, key=lambda entry: entry["index"])]
        nearness = [cosine(vectors[0], vector) for vector in vectors[1:]]
        ranked = sorted(range(len(documents)), key=lambda i: nearness[i], reverse=True)
        return ranked[:MOST_SOURCES]

    async def _ask(
        self, session: aiohttp.ClientSession, question: str, documents: list[str]
    ) -> str:
        context = "\n\n".join(documents)
        body = {
            "model": self.chat_model,
            "temperature": 0,
            "messages": [
                {"role": "system", "content": INSTRUCTIONS},
                {"role": "user", "content": f"Question: {question}\n\nDocuments:\n\n{context}"},
            ],
        }
        answer = await _post(session, self.chat, "chat/completions", body)
        return answer["choices"][0]["message"]["content"] or ""


async def _post(
    session: aiohttp.ClientSession,
    connection: OpenAIConnection,
    path: str,
    body: dict[str, Any],
) -> dict[str, Any]:
    # The key is read for each call: it may be another one for each run.
    async with session.post(
        f"{connection.base_url or 'https://api.openai.com/v1'}/{path}",
        headers={"Authorization": f"Bearer {connection.api_key}"},
        json=body,
    ) as response:
        return await response.json()


def cosine(a: list[float], b: list[float]) -> float:
    """The cosine of the angle between two vectors; 0 when one has no length."""
    lengths = math.hypot(*a) * math.hypot(*b)
    return math.sumprod(a, b) / lengths if lengths else 0.0
