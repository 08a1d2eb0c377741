"""The adapter to Presidio, against the interface that it documents.

https://microsoft.github.io/presidio/api/analyzer_python/: `AnalyzerEngine.analyze(text, language,
entities, score_threshold)` returns results with `entity_type`, `start`, `end` and `score`.
"""

from __future__ import annotations

import re
import sys
import threading
from dataclasses import dataclass
from types import ModuleType
from typing import ClassVar

import pytest

from contracts.errors import Misconfigured
from policies.privacy import presidio
from policies.privacy.redaction import TenantRedaction
from policies.privacy.settings import PrivacySettings

INSTALLED = "a_model_that_is_there"


@dataclass
class RecognizerResult:
    entity_type: str
    start: int
    end: int
    score: float = 0.85


class Engine:
    """Finds `Jane Doe` and `Berlin`; notes how it was made and asked."""

    made: ClassVar[list[dict]] = []
    asked: ClassVar[list[dict]] = []
    threads: ClassVar[set[int]] = set()

    def __init__(self, *, nlp_engine, supported_languages):
        self.made.append({"nlp": nlp_engine, "languages": supported_languages})

    def analyze(self, text, language, entities=None, score_threshold=None):
        self.threads.add(threading.get_ident())
        self.asked.append({"language": language, "entities": entities, "score": score_threshold})
        names = {"PERSON": "Jane Doe|Jane", "LOCATION": "Berlin"}
        return [
            RecognizerResult(entity, *match.span())
            for entity in entities
            for match in re.finditer(names.get(entity, "(?!)"), text)
        ]


class NlpEngineProvider:
    def __init__(self, *, nlp_configuration):
        self.configuration = nlp_configuration

    def create_engine(self):
        return self.configuration


@pytest.fixture
def engine(monkeypatch):
    modules = {name: ModuleType(name) for name in ("presidio_analyzer", "spacy", "spacy.util")}
    modules["presidio_analyzer.nlp_engine"] = ModuleType("presidio_analyzer.nlp_engine")
    modules["presidio_analyzer"].AnalyzerEngine = Engine
    modules["presidio_analyzer.nlp_engine"].NlpEngineProvider = NlpEngineProvider
    modules["spacy"].util = modules["spacy.util"]
    modules["spacy.util"].is_package = lambda name: name == INSTALLED
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    presidio._engine.cache_clear()
    for noted in (Engine.made, Engine.asked, Engine.threads):
        noted.clear()
    yield Engine
    presidio._engine.cache_clear()


def rules(**fields):
    return PrivacySettings.model_validate(
        {"restore": True, "language": "de", "presidio": {"model": INSTALLED, **fields}}
    )


async def redacted(payload, settings):
    return await TenantRedaction(lambda tenant: settings).redacted(payload, "t")


async def test_what_presidio_finds_is_taken_out_beside_what_patterns_find(engine):
    text = "Jane Doe of Berlin has jane@example.com; call Jane."
    result = await redacted({"q": [text]}, rules())
    assert result.payload == {"q": ["<PERSON_1> of <LOCATION_1> has <EMAIL_1>; call <PERSON_2>."]}
    assert result.restored(result.payload) == {"q": [text]}


async def test_it_is_asked_as_the_tenant_says(engine):
    await redacted(["Berlin", ""], rules(entities=["LOCATION"], score=0.7))
    assert engine.asked == [{"language": "de", "entities": ["LOCATION"], "score": 0.7}]
    models = [{"lang_code": "de", "model_name": INSTALLED}]
    configuration = {"nlp_engine_name": "spacy", "models": models}
    assert engine.made == [{"nlp": configuration, "languages": ["de"]}]


async def test_it_is_loaded_once_and_works_beside_the_event_loop(engine):
    settings = rules()
    for _ in range(3):
        await redacted(["Jane Doe"], settings)
    assert len(engine.made) == 1
    assert threading.get_ident() not in engine.threads


async def test_a_model_that_is_not_installed_is_never_downloaded(engine):
    with pytest.raises(Misconfigured, match="another_model"):
        await redacted(["Jane Doe"], rules(model="another_model"))
    assert engine.made == []
