"""Embeddings: an OpenAI embeddings body in and out, from all-MiniLM-L6-v2.

In:  {"input": text or list of texts, "encoding_format"?: "float" | "base64", "model"?, "user"?}
Out: {"object": "list", "data": [{"object": "embedding", "index", "embedding"}], "model", "usage"}
"""

from __future__ import annotations

import base64

from azureml_inference_server_http.api.aml_response import AMLResponse

from minilm.encoder import Encoder, Floats, model_dir
from minilm.wire import Json, JsonObject, WrongInput, answer, text, texts

MODEL = "all-MiniLM-L6-v2"
MAX_INPUTS = 2_048
"""OpenAI's own limit on one request."""

_encoder: Encoder


def init() -> None:
    """Called once by the inference server, before it says it is healthy."""
    global _encoder  # noqa: PLW0603 - the scoring script's contract is module level init and run
    _encoder = Encoder(model_dir())


def run(raw_data: str) -> JsonObject | AMLResponse:
    """Called for every request."""
    return answer(raw_data, _score)


def _score(body: JsonObject) -> JsonObject:
    inputs = _inputs(body.get("input"))
    if body.get("dimensions", _encoder.size) != _encoder.size:
        raise WrongInput("dimensions", str(_encoder.size))
    encoding = body.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise WrongInput("encoding_format", '"float" or "base64"')
    vectors = _encoder.encode(inputs)
    tokens = sum(_encoder.count_tokens(item) for item in inputs)
    data: list[Json] = [
        {"object": "embedding", "index": index, "embedding": _written(vector, encoding)}
        for index, vector in enumerate(vectors)
    ]
    return {
        "object": "list",
        "data": data,
        "model": MODEL,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _inputs(given: Json) -> list[str]:
    if isinstance(given, list):
        return texts(given, "input", at_most=MAX_INPUTS)
    return [text(given, "input")]


def _written(vector: Floats, encoding: Json) -> Json:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    numbers: list[Json] = vector.tolist()
    return numbers
