"""Classification by the nearest centroid over all-MiniLM-L6-v2 embeddings.

In:  {"text", "labels": [label, …], "examples"?: {label: [text, …]}}
Out: {"label", "scores": {label: probability}}

A label's centroid is the mean of its name and its examples, so it works from names alone and
gets better with examples.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from azureml_inference_server_http.api.aml_response import AMLResponse

from minilm.encoder import Encoder, Floats, model_dir
from minilm.wire import JsonObject, WrongInput, answer, text, texts

MAX_LABELS = 100
MAX_EXAMPLES = 100
"""Of one label."""
SHARPNESS = 20
"""Factor on cosine similarities before the softmax, as the encoder was trained with."""

_encoder: Encoder


def init() -> None:
    """Called once by the inference server, before it says it is healthy."""
    global _encoder  # noqa: PLW0603 - the scoring script's contract is module level init and run
    _encoder = Encoder(model_dir())


def run(raw_data: str) -> JsonObject | AMLResponse:
    """Called for every request."""
    return answer(raw_data, _score)


def _score(body: JsonObject) -> JsonObject:
    content = text(body.get("text"), "text")
    labels = texts(body.get("labels"), "labels", at_most=MAX_LABELS)
    if len(set(labels)) < len(labels):
        raise WrongInput("labels", "labels that differ from each other")
    examples = body.get("examples") or {}
    if not isinstance(examples, dict) or not examples.keys() <= set(labels):
        raise WrongInput("examples", "an object whose keys are among the labels")
    centroids = [
        _centroid(
            label,
            tuple(texts(examples[label], f"examples.{label}", at_most=MAX_EXAMPLES))
            if label in examples
            else (),
        )
        for label in labels
    ]
    closeness = np.stack(centroids) @ _encoder.encode([content])[0] * SHARPNESS
    weights = np.exp(closeness - closeness.max())
    scores = {
        label: float(share) for label, share in zip(labels, weights / weights.sum(), strict=True)
    }
    return {"label": max(labels, key=scores.__getitem__), "scores": dict(scores)}


@lru_cache(maxsize=1_000)
def _centroid(label: str, examples: tuple[str, ...]) -> Floats:
    """Cached, as callers ask about the same labels again and again."""
    mean = _encoder.encode([label, *examples]).mean(axis=0)
    centroid: Floats = mean / np.linalg.norm(mean)
    return centroid
