"""Sentence embeddings with all-MiniLM-L6-v2, a BERT of six layers, in plain numpy.

Small enough for a CPU, and no framework to install: a forward pass is twenty lines. The folder
named by AZUREML_MODEL_DIR holds the weights as Hugging Face publishes them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Encoding, Tokenizer

type Floats = NDArray[np.float32]

TEXTS_A_PASS = 16
"""Longest first, so that a pass pads little; more at once only falls out of the CPU's caches."""


def model_dir() -> Path:
    """The folder of weights under AZUREML_MODEL_DIR (Azure keeps the registered folder's name).

    Raises FileNotFoundError when there is none.
    """
    root = Path(os.environ.get("AZUREML_MODEL_DIR", "."))
    weights = sorted(root.rglob("model.safetensors"))
    if not weights:
        msg = f"no model.safetensors under AZUREML_MODEL_DIR ({root})"
        raise FileNotFoundError(msg)
    return weights[0].parent


class Encoder:
    """Texts in, vectors of length one out. Not for use by several threads at once."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        self._heads: int = config["num_attention_heads"]
        self._layers: int = config["num_hidden_layers"]
        self._epsilon = np.float32(config["layer_norm_eps"])
        self._weights: dict[str, Floats] = load_file(folder / "model.safetensors")
        self.size: int = config["hidden_size"]
        limits = json.loads((folder / "sentence_bert_config.json").read_text())
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(limits["max_seq_length"])
        self._tokenizer.no_padding()
        self._counter = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._counter.no_truncation()
        self._counter.no_padding()

    def count_tokens(self, text: str) -> int:
        """Tokens of the whole text, past what the encoder itself looks at."""
        return len(self._counter.encode(text, add_special_tokens=False).ids)

    def encode(self, texts: Sequence[str]) -> Floats:
        """One row a text, of which the first 256 tokens count, as the model was trained."""
        encodings = self._tokenizer.encode_batch(list(texts))
        vectors = np.empty((len(encodings), self.size), np.float32)
        order = sorted(range(len(encodings)), key=lambda at: -len(encodings[at].ids))
        for start in range(0, len(order), TEXTS_A_PASS):
            part = order[start : start + TEXTS_A_PASS]
            vectors[part] = self._forward([encodings[at] for at in part])
        return vectors

    def _forward(self, encodings: list[Encoding]) -> Floats:
        longest = max(len(encoding.ids) for encoding in encodings)
        ids = np.zeros((len(encodings), longest), np.int64)
        mask = np.zeros((len(encodings), longest), np.float32)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding.ids)] = encoding.ids
            mask[row, : len(encoding.ids)] = 1
        hidden = self._norm(
            self._weights["embeddings.word_embeddings.weight"][ids]
            + self._weights["embeddings.position_embeddings.weight"][:longest]
            + self._weights["embeddings.token_type_embeddings.weight"][0],
            "embeddings.LayerNorm",
        )
        for layer in range(self._layers):
            hidden = self._layer(hidden, mask, f"encoder.layer.{layer}.")
        pooled: Floats = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1)[:, None]
        unit: Floats = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return unit

    def _layer(self, hidden: Floats, mask: Floats, at: str) -> Floats:
        attended = self._linear(self._attention(hidden, mask, at), at + "attention.output.dense")
        hidden = self._norm(hidden + attended, at + "attention.output.LayerNorm")
        inner = _gelu(self._linear(hidden, at + "intermediate.dense"))
        return self._norm(
            hidden + self._linear(inner, at + "output.dense"), at + "output.LayerNorm"
        )

    def _attention(self, hidden: Floats, mask: Floats, at: str) -> Floats:
        texts, length, size = hidden.shape

        def heads(name: str) -> Floats:
            projected = self._linear(hidden, f"{at}attention.self.{name}")
            return projected.reshape(texts, length, self._heads, -1).transpose(0, 2, 1, 3)

        scale = np.float32((size // self._heads) ** -0.5)
        scores: Floats = heads("query") @ heads("key").swapaxes(-1, -2) * scale
        scores += (1 - mask[:, None, None, :]) * np.float32(-1e9)
        np.exp(scores - scores.max(axis=-1, keepdims=True), out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed: Floats = scores @ heads("value")
        return mixed.transpose(0, 2, 1, 3).reshape(texts, length, size)

    def _linear(self, values: Floats, name: str) -> Floats:
        return values @ self._weights[name + ".weight"].T + self._weights[name + ".bias"]

    def _norm(self, values: Floats, name: str) -> Floats:
        centred: Floats = values - values.mean(axis=-1, keepdims=True, dtype=np.float32)
        variance: Floats = np.square(centred).mean(axis=-1, keepdims=True, dtype=np.float32)
        deviation: Floats = np.sqrt(variance + self._epsilon)
        return centred / deviation * self._weights[name + ".weight"] + self._weights[name + ".bias"]


def _gelu(values: Floats) -> Floats:
    """The exact GELU; numpy has no erf, so Abramowitz and Stegun 7.1.26 (error below 2e-7)."""
    x = np.abs(values) * np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(0.3275911) * x)
    series = np.float32(1.061405429) * t - np.float32(1.453152027)
    series = (series * t + np.float32(1.421413741)) * t - np.float32(0.284496736)
    series = (series * t + np.float32(0.254829592)) * t
    erf: Floats = np.copysign(1 - series * np.exp(-x * x), values)
    return values * np.float32(0.5) * (1 + erf)
