"""Microsoft Presidio as a further detector: names and places, which no pattern tells.

Optional: requirements-presidio.txt. It is imported, and its model loaded, at the first call that is
to be searched; some 3 s and 600 MB with a large model.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import cache
from typing import Any, Protocol

from contracts.errors import Misconfigured
from policies.privacy.finding import Found
from policies.privacy.patterns import encodable
from policies.privacy.settings import PresidioSettings


class Result(Protocol):
    """What of `presidio_analyzer.RecognizerResult` is read."""

    entity_type: str
    start: int
    end: int


class Analyzer(Protocol):
    """What of `presidio_analyzer.AnalyzerEngine` is called."""

    def analyze(
        self, text: str, language: str, *, entities: list[str], score_threshold: float
    ) -> list[Any]: ...


class Presidio:
    """A finder; slow, so it is to be called in a thread."""

    def __init__(self, settings: PresidioSettings, language: str) -> None:
        self._settings = settings
        self._language = language

    def find(self, text: str) -> Iterator[Found]:
        """Raises Misconfigured when Presidio or its model is not installed."""
        if not text.strip():
            return
        analyzer = engine(self._settings.model, self._language)
        results: list[Result] = analyzer.analyze(
            encodable(text),
            self._language,
            entities=list(self._settings.entities),
            score_threshold=self._settings.score,
        )
        for result in results:
            yield Found(result.start, result.end, result.entity_type.lower())


_loading = threading.Lock()


def engine(model: str, language: str) -> Analyzer:
    """One a model in a process."""
    with _loading:
        return _engine(model, language)


@cache
def _engine(model: str, language: str) -> Analyzer:
    try:
        import spacy.util
        from presidio_analyzer import AnalyzerEngine
        from presidio_analyzer.nlp_engine import NlpEngineProvider
    except ImportError:
        raise Misconfigured(
            "tenants.yaml asks for Presidio, which is not installed: add"
            " requirements-presidio.txt, or take `privacy.presidio` out."
        ) from None
    if not spacy.util.is_package(model):  # Presidio would download it
        raise Misconfigured(f"spaCy's model {model}, which tenants.yaml names, is not installed.")
    configuration = {
        "nlp_engine_name": "spacy",
        "models": [{"lang_code": language, "model_name": model}],
    }
    nlp = NlpEngineProvider(nlp_configuration=configuration).create_engine()
    analyzer: Analyzer = AnalyzerEngine(nlp_engine=nlp, supported_languages=[language])
    return analyzer
