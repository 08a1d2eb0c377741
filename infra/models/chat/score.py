"""Chat completions from an extractive language model: it answers with sentences of the prompt.

In:  an OpenAI chat completions body (`messages`, `max_tokens` or `max_completion_tokens`)
Out: an OpenAI chat.completion

A last user message with a `Question:` line is answered with the one or two sentences nearest in
meaning to the question, or with NOT_SAID when none is near; any other is summarised by its most
central sentences, in their order.
System messages are instructions: "at most N words" is obeyed, the rest does not concern a model
that cannot write. Sampling settings do not either: the same prompt gets the same answer.
"""

from __future__ import annotations

import time
import uuid

import numpy as np
from azureml_inference_server_http.api.aml_response import AMLResponse

from minilm.encoder import Encoder, Floats, model_dir
from minilm.sentences import Prompt, read_prompt
from minilm.wire import Json, JsonObject, WrongInput, answer

MODEL = "extractive-minilm"
CONTEXT_TOKENS = 16_384
CHARACTERS_A_TOKEN = 16
"""No text of a context's tokens is longer; a longer one is refused before it is counted."""
DEFAULT_MAX_TOKENS = 1_024
SUMMARY_SHARE = 3
"""Without a stated limit, a summary keeps one sentence in so many."""
SECOND_ANSWER = 0.8
"""A second sentence is quoted when it is at least this near the best one."""
FAR = 0.15
"""Cosine similarity below which a sentence has nothing to do with a question."""
NOT_SAID = "The text does not say."

_encoder: Encoder


def init() -> None:
    """Called once by the inference server, before it says it is healthy."""
    global _encoder  # noqa: PLW0603 - the scoring script's contract is module level init and run
    _encoder = Encoder(model_dir())


def run(raw_data: str) -> JsonObject | AMLResponse:
    """Called for every request."""
    return answer(raw_data, _score)


def _score(body: JsonObject) -> JsonObject:
    if body.get("stream"):
        raise WrongInput("stream", "false; this model does not stream")
    messages = _messages(body.get("messages"))
    prompt_tokens = _within_context(messages)
    instructions = "\n".join(said for role, said in messages if role in ("system", "developer"))
    asked = [said for role, said in messages if role == "user"]
    prompt = read_prompt(instructions, asked[-1] if asked else "")
    if not prompt.sentences and prompt.question is None:
        raise WrongInput("messages", "a user message with at least one sentence")
    written, complete = _write(prompt, _max_tokens(body))
    completion_tokens = _encoder.count_tokens(written)
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": written},
                "finish_reason": "stop" if complete else "length",
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def _messages(given: Json) -> list[tuple[str, str]]:
    if not isinstance(given, list) or not given:
        raise WrongInput("messages", "a non-empty list")
    messages: list[tuple[str, str]] = []
    for at, message in enumerate(given):
        role = message.get("role") if isinstance(message, dict) else None
        if not isinstance(message, dict) or not isinstance(role, str):
            raise WrongInput(f"messages[{at}]", "an object with role and content")
        messages.append((role, _content(message.get("content"), f"messages[{at}].content")))
    return messages


def _content(content: Json, field: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    parts: list[str] = []
    for part in content if isinstance(content, list) else [None]:
        said = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
        if not isinstance(said, str):
            raise WrongInput(field, "a string or a list of text parts")
        parts.append(said)
    return "\n".join(parts)


def _within_context(messages: list[tuple[str, str]]) -> int:
    """The prompt's tokens. Raises WrongInput when there are more than the model looks at."""
    characters = sum(len(said) for _, said in messages)
    if characters <= CONTEXT_TOKENS * CHARACTERS_A_TOKEN:
        tokens = sum(_encoder.count_tokens(said) for _, said in messages)
        if tokens <= CONTEXT_TOKENS:
            return tokens
    raise WrongInput("messages", f"at most {CONTEXT_TOKENS:,} tokens")


def _max_tokens(body: JsonObject) -> int:
    for field in ("max_completion_tokens", "max_tokens"):
        given = body.get(field)
        if given is None:
            continue
        if isinstance(given, bool) or not isinstance(given, int) or given < 1:
            raise WrongInput(field, "a whole number of at least 1")
        return given
    return DEFAULT_MAX_TOKENS


def _write(prompt: Prompt, max_tokens: int) -> tuple[str, bool]:
    """The chosen sentences in the prompt's order, and whether the best one could be said whole."""
    ranked = _answers(prompt.question, prompt) if prompt.question else _summary(prompt)
    if not ranked:
        return NOT_SAID, True
    chosen: list[int] = []
    for at in ranked:
        attempt = " ".join(prompt.sentences[index] for index in sorted([*chosen, at]))
        if _fits(attempt, prompt.word_limit, max_tokens):
            chosen.append(at)
    if not chosen:
        return _cut(prompt.sentences[ranked[0]], prompt.word_limit, max_tokens), False
    return " ".join(prompt.sentences[at] for at in sorted(chosen)), True


def _answers(question: str, prompt: Prompt) -> list[int]:
    vectors = _encoder.encode([question, *prompt.sentences])
    near = vectors[1:] @ vectors[0]
    ranked = [at for at in _descending(near) if near[at] >= FAR]
    return [at for at in ranked[:2] if near[at] >= SECOND_ANSWER * near[ranked[0]]]


def _summary(prompt: Prompt) -> list[int]:
    vectors = _encoder.encode(prompt.sentences)
    ranked = _descending(vectors @ vectors.mean(axis=0))
    if prompt.word_limit is None:
        ranked = ranked[: -(-len(ranked) // SUMMARY_SHARE)]
    return ranked


def _descending(scores: Floats) -> list[int]:
    order: list[int] = np.argsort(-scores, kind="stable").tolist()
    return order


def _fits(said: str, word_limit: int | None, max_tokens: int) -> bool:
    if word_limit is not None and len(said.split()) > word_limit:
        return False
    return _encoder.count_tokens(said) <= max_tokens


def _cut(sentence: str, word_limit: int | None, max_tokens: int) -> str:
    words = sentence.split(" ")[:word_limit]
    while len(words) > 1 and not _fits(" ".join(words), word_limit, max_tokens):
        words.pop()
    return " ".join(words)
