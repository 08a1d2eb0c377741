"""Ask a classifier behind a scoring endpoint which label fits a text."""

from typing import TypedDict

import aiohttp
from promptflow.connections import CustomConnection
from promptflow.core import tool


class Classification(TypedDict):
    label: str
    scores: dict[str, float]


@tool
async def classify(connection: CustomConnection, text: str, labels: list[str]) -> Classification:
    """POST {"text", "labels"} to the connection's url; {"label", "scores"} comes back."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            connection.configs["url"],
            headers={"Authorization": f"Bearer {connection.secrets['key']}"},
            json={"text": text, "labels": labels},
            raise_for_status=True,
        ) as response,
    ):
        answer = await response.json()
    return Classification(label=answer["label"], scores=answer["scores"])
