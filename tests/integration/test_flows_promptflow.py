"""PromptFlow flows run by the real SDK; their HTTP calls go through the real gateway."""

from __future__ import annotations

import asyncio
import builtins
import gc
import json
import logging
import os
import random
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI

from contracts.calls import JsonObject, ModelAnswer, ModelCall, Task
from contracts.errors import CallRejected, FlowFailed, NoCapacity
from contracts.flows import FlowRun
from flows.registry import Flows
from tests.unit.flows_fakes import (
    FakeModels,
    answered,
    completion,
    embeddings,
    last_message,
    scores,
    write,
)

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")

ROOT = Path(__file__).parents[2]
PARCEL = {"text": "The parcel is late."}
DOCUMENTS = ["aaaa", "b", "ab", "ccc", "e"]
QUESTION: JsonObject = {"question": "aa b?", "documents": list(DOCUMENTS)}


@pytest.fixture(scope="module")
async def shipped() -> AsyncIterator[Flows]:
    flows = Flows.load()
    yield flows
    await flows.close()


@pytest.fixture
async def written(tmp_path: Path) -> AsyncIterator[_Written]:
    written = _Written(tmp_path)
    yield written
    for flows in written.loaded:
        await flows.close()
    for client in [o for o in gc.get_objects() if type(o) in (AsyncOpenAI, AsyncAzureOpenAI)]:
        await client.close()  # a flow's client lives as long as the app


class _Written:
    """Loads flows that a test writes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.loaded: list[Flows] = []

    def load(self, files: dict[str, str]) -> Flows:
        flows = Flows.load(write(self.directory, files))
        assert flows.broken == []
        self.loaded.append(flows)
        return flows


async def test_classify(shipped: Flows) -> None:
    models = FakeModels()
    result = await shipped.get("classify").run({**PARCEL, "labels": ["bill", "late"]}, models.run())
    assert result == {"label": "late", "scores": {"bill": 0.5, "late": 0.5}}
    sent = {**PARCEL, "labels": ["bill", "late"]}
    assert models.calls == [ModelCall("classifier", Task.SCORE, sent)]


async def test_classify_has_labels_of_its_own_and_takes_another_model(shipped: Flows) -> None:
    models = FakeModels()
    result = await shipped.get("classify").run({**PARCEL}, models.run(model="classifier-2"))
    assert isinstance(result, dict)
    assert result["label"] == "praise"
    assert models.calls[0].model == "classifier-2"


async def test_answer(shipped: Flows) -> None:
    models = FakeModels(chat=completion("Yes."))
    result = await shipped.get("answer").run(QUESTION, models.run())
    assert result == {"answer": "Yes.", "sources": [2, 0, 1]}
    assert [(call.model, call.task) for call in models.calls] == [
        ("embed", Task.EMBEDDINGS),
        ("chat", Task.CHAT),
    ]
    assert last_message(models.calls[1]) == "Question: aa b?\n\nDocuments:\n\nab\n\naaaa\n\nb"
    assert "model" not in str(models.calls[1].payload)


async def test_answer_without_documents(shipped: Flows) -> None:
    models = FakeModels(chat=completion("I do not know."))
    result = await shipped.get("answer").run({"question": "Who?", "documents": []}, models.run())
    assert result == {"answer": "I do not know.", "sources": []}
    assert [call.model for call in models.calls] == ["chat"]


@pytest.mark.parametrize(
    "error",
    [NoCapacity("Busy.", retry_at=datetime.now(UTC)), CallRejected("Too long."), KeyError("a bug")],
)
@pytest.mark.parametrize(
    ("name", "input"), [("classify", PARCEL), ("answer", QUESTION)], ids=["dag", "flex"]
)
async def test_errors_of_the_call_come_out_as_they_are(
    shipped: Flows, name: str, input: JsonObject, error: Exception
) -> None:
    models = FakeModels(classifier=error, chat=error)
    with pytest.raises(type(error)) as raised:
        await shipped.get(name).run(input, models.run())
    assert raised.value is error


@pytest.mark.parametrize("name", ["classify", "answer"])
async def test_200_runs_at_once_never_mix(shipped: Flows, name: str) -> None:
    async def one(number: int) -> tuple[object, list[ModelCall]]:
        calls: list[ModelCall] = []

        async def invoke(call: ModelCall) -> ModelAnswer:
            calls.append(call)
            await asyncio.sleep(random.random() / 50)
            if call.task is Task.CHAT:
                return answered(call, completion(last_message(call)))
            return answered(call, scores(call) if call.task is Task.SCORE else embeddings(call))

        given: JsonObject = (
            {"text": "a", "labels": [f"label {number}"]}
            if name == "classify"
            else {"question": f"number {number}?", "documents": ["a"]}
        )
        return await shipped.get(name).run(given, FlowRun(invoke=invoke)), calls

    output = sys.stdout
    for number, (result, calls) in enumerate(await asyncio.gather(*map(one, range(200)))):
        assert isinstance(result, dict)
        if name == "classify":
            assert result["label"] == f"label {number}"
            assert len(calls) == 1
        else:
            assert result["answer"].startswith(f"Question: number {number}?")
            assert len(calls) == 2
    assert sys.stdout is output


ASK = """
    import aiohttp
    from promptflow.connections import CustomConnection
    from promptflow.core import tool
    from helpers import PREFIX

    @tool
    async def ask(link: CustomConnection, text: str) -> str:
        async with aiohttp.ClientSession() as session:
            key = link.secrets["key"]
            answer = await session.post(
                link.configs["url"], headers={"Authorization": f"Bearer {key}"}, json=text
            )
            if answer.status != 200:
                raise RuntimeError(f"{text}: {key}")
            return PREFIX + await answer.json()
"""
ASK_DAG = """
    inputs: {text: {type: string}}
    outputs: {answer: {type: string, reference: "${ask.output}"}}
    nodes:
      - name: ask
        type: python
        source: {type: code, path: ask.py}
        inputs: {link: scorer, text: "${inputs.text}"}
"""


def ask_dag(tool: str = ASK, prefix: str = "said ", name: str = "it") -> dict[str, str]:
    files = {"flow.dag.yaml": ASK_DAG, "ask.py": tool, "helpers.py": f"PREFIX = {prefix!r}"}
    return {f"{name}/{file}": text for file, text in files.items()}


def echo(call: ModelCall) -> object:
    return call.payload


async def test_each_flow_has_its_own_modules_and_nothing_is_written(written: _Written) -> None:
    flows = written.load({**ask_dag(), **ask_dag(prefix="wrote ", name="two")})
    before = sorted(written.directory.rglob("*"))
    path, modules = list(sys.path), sys.modules.keys() & {"helpers", "ask"}
    models = FakeModels(scorer=echo)  # type: ignore[arg-type]
    assert await flows.get("it").run({"text": "hi"}, models.run()) == {"answer": "said hi"}
    assert await flows.get("two").run({"text": "hi"}, models.run()) == {"answer": "wrote hi"}
    assert sorted(written.directory.rglob("*")) == before
    assert (sys.path, sys.modules.keys() & {"helpers", "ask"}) == (path, modules)


ECHO = "async def echo(text: str) -> str:\n    return text\n"


async def test_a_sync_tool_in_its_thread_has_the_key_of_its_run(written: _Written) -> None:
    tool = """
        import json, time, urllib.request
        from promptflow.connections import CustomConnection
        from promptflow import tool

        @tool
        def ask(link: CustomConnection, text: str) -> str:
            time.sleep(0.01)
            headers = {"api-key": link["key"], "Content-Type": "application/json"}
            request = urllib.request.Request(link["url"], json.dumps(text).encode(), headers)
            return json.loads(urllib.request.urlopen(request).read())
    """
    flow = written.load(ask_dag(tool)).get("it")

    async def one(number: int) -> object:
        async def invoke(call: ModelCall) -> ModelAnswer:
            return answered(call, f"{call.payload} by {number}")

        return await flow.run({"text": f"{number}"}, FlowRun(invoke=invoke))

    assert await asyncio.gather(*map(one, range(50))) == [
        {"answer": f"{number} by {number}"} for number in range(50)
    ]


DRAFT = """
    from openai import AsyncAzureOpenAI, AsyncOpenAI
    from promptflow.connections import AzureOpenAIConnection, OpenAIConnection
    from promptflow.core import AzureOpenAIModelConfiguration

    class Draft:
        def __init__(
            self,
            chat: OpenAIConnection,
            azure: AzureOpenAIConnection,
            config: AzureOpenAIModelConfiguration,
        ):
            self.plain = AsyncOpenAI(api_key=chat.api_key, base_url=chat.base_url)
            self.azure = AsyncAzureOpenAI(
                api_key=azure.api_key, azure_endpoint=azure.api_base, api_version=azure.api_version
            )
            self.configured = AsyncAzureOpenAI(
                api_key=config.api_key,
                azure_endpoint=config.azure_endpoint,
                api_version=config.api_version,
            )

        async def __call__(self, text: str) -> dict:
            said = []
            for client in (self.plain, self.azure, self.configured):
                answer = await client.chat.completions.create(
                    model="any", messages=[{"role": "user", "content": text}]
                )
                said.append(answer.choices[0].message.content)
            vectors = await self.plain.embeddings.create(model="any", input=[text])
            return {"said": said, "vector": vectors.data[0].embedding}
"""
DRAFT_FLEX = """
    entry: draft:Draft
    sample:
      init: {chat: chat, azure: chat-azure, config: {connection: chat-big, azure_deployment: any}}
"""


async def test_openai_clients_made_once_serve_every_run_as_itself(written: _Written) -> None:
    flow = written.load({"it/flow.flex.yaml": DRAFT_FLEX, "it/draft.py": DRAFT}).get("it")

    async def one(number: int) -> object:
        async def invoke(call: ModelCall) -> ModelAnswer:
            assert last_message(call) == str(number) if call.task is Task.CHAT else True
            await asyncio.sleep(random.random() / 100)
            said = completion(f"{call.model} {number}")
            return answered(call, said if call.task is Task.CHAT else embeddings(call))

        return await flow.run({"text": f"{number}"}, FlowRun(invoke=invoke))

    for number, result in enumerate(await asyncio.gather(*map(one, range(20)))):
        assert result == {
            "said": [f"chat {number}", f"chat-azure {number}", f"chat-big {number}"],
            "vector": [0.0] * 5,
        }
    error = NoCapacity("Busy.", retry_at=datetime.now(UTC))
    models = FakeModels(chat=error)
    with pytest.raises(NoCapacity):
        await flow.run({"text": "a"}, models.run())
    assert len(models.calls) == 1, "the client retried"


async def test_a_key_kept_from_the_constructor_is_refused_and_logged(
    written: _Written, caplog: pytest.LogCaptureFixture
) -> None:
    code = """
        import aiohttp
        from promptflow.connections import CustomConnection

        class Ask:
            def __init__(self, link: CustomConnection):
                self.url, self.key = link.configs["url"], link.secrets["key"]

            async def __call__(self, text: str) -> str:
                async with aiohttp.ClientSession(raise_for_status=True) as session:
                    await session.post(self.url, headers={"api-key": self.key}, json=text)
    """
    flex = "entry: ask:Ask\nsample: {init: {link: scorer}}"
    flow = written.load({"it/flow.flex.yaml": flex, "it/ask.py": code}).get("it")
    with (
        caplog.at_level(logging.WARNING, logger="sluice.flows"),
        pytest.raises(FlowFailed, match=r"ClientResponseError in ask.py, line 10"),
    ):
        await flow.run({"text": "a"}, FakeModels().run())
    assert "flow it used a key that it kept from when it was built" in caplog.messages


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("def ask(text: str) -> str:\n    return text", "hi"),
        (
            "from dataclasses import dataclass\n@dataclass\nclass Said:\n    it: str\n\n"
            "async def ask(text: str) -> Said:\n    return Said(text)",
            {"it": "hi"},
        ),
        ("async def ask(text: str):\n    yield text[0]\n    yield text[1]", "hi"),
        ("class ask:\n    def __call__(self, text: str) -> str:\n        return text", "hi"),
    ],
)
async def test_what_a_flex_flow_may_be(written: _Written, code: str, result: object) -> None:
    flows = written.load({"it/flow.flex.yaml": "entry: ask:ask", "it/ask.py": code})
    assert await flows.get("it").run({"text": "hi"}, FakeModels().run()) == result


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (ask_dag(), "Flow 'it' failed: TypeError in ask.py, line 15."),
        (
            {
                "it/flow.flex.yaml": "entry: ask:ask",
                "it/ask.py": "async def ask(text: str) -> str:\n    raise RuntimeError(text)",
            },
            "Flow 'it' failed: RuntimeError in ask.py, line 2.",
        ),
        (
            {
                "it/flow.flex.yaml": "entry: ask:ask",
                "it/ask.py": "import nowhere\nasync def ask(text: str) -> str: ...",
            },
            "Flow 'it' failed: ModuleNotFoundError in ask.py, line 1.",
        ),
        (
            {
                "it/flow.flex.yaml": "entry: ask:ask",
                "it/ask.py": "async def ask(text: str) -> dict:\n    return {'o': object()}",
            },
            "Flow 'it' failed: FlowOutputUnserializable.",
        ),
    ],
    ids=["dag", "flex", "import", "json"],
)
async def test_errors_of_the_flow_name_file_and_line_and_no_text(
    written: _Written,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    files: dict[str, str],
    expected: str,
) -> None:
    flow = written.load(files).get("it")
    models = FakeModels(scorer=lambda _: 1)  # no text, so the DAG's tool fails on it
    with caplog.at_level(logging.INFO), pytest.raises(FlowFailed) as raised:
        await flow.run({"text": "s3cret"}, models.run())
    assert raised.value.detail == expected
    assert "s3cret" not in caplog.text + "".join(capfd.readouterr())


class Hanging:
    """A model that answers when it is let go."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, call: ModelCall) -> ModelAnswer:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        raise AssertionError


SYNC_FLEX = """
    import json, urllib.request
    from promptflow.connections import CustomConnection

    class Ask:
        def __init__(self, link: CustomConnection):
            self.link = link

        def __call__(self, text: str) -> str:
            headers = {"api-key": self.link.secrets["key"]}
            request = urllib.request.Request(
                self.link.configs["url"], json.dumps(text).encode(), headers
            )
            return json.loads(urllib.request.urlopen(request).read())
"""


@pytest.mark.parametrize(
    "files",
    [
        ask_dag(),
        {
            "it/flow.flex.yaml": "entry: ask:Ask\nsample: {init: {link: scorer}}",
            "it/ask.py": SYNC_FLEX,
        },
    ],
    ids=["dag", "sync flex"],
)
async def test_a_cancelled_run_takes_nothing_with_it(
    written: _Written, files: dict[str, str]
) -> None:
    flow, model = written.load(files).get("it"), Hanging()
    running = asyncio.create_task(flow.run({"text": "a"}, FlowRun(invoke=model)))
    await model.begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.wait_for(model.cancelled.wait(), 60)
    models = FakeModels(scorer=echo)  # type: ignore[arg-type]
    result = await flow.run({"text": "b"}, models.run())
    assert result in ({"answer": "said b"}, "b")


async def test_first_runs_at_once_build_the_flow_once(
    written: _Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = "import builtins\nbuiltins.sluice_builds.append(1)"
    monkeypatch.setattr(builtins, "sluice_builds", [], raising=False)
    flows = written.load(
        {"it/flow.flex.yaml": "entry: echo:echo", "it/echo.py": f"{counting}\n{ECHO}"}
    )
    run = FakeModels().run()
    results = await asyncio.gather(*(flows.get("it").run({"text": f"{n}"}, run) for n in range(20)))
    assert results == [f"{n}" for n in range(20)]
    assert vars(builtins)["sluice_builds"] == [1]


def test_the_sdk_is_a_quiet_guest(tmp_path: Path) -> None:
    """In a process of its own: no home directory, no threads left, nothing printed, no devkit."""
    code = """
import asyncio, json, sys, threading
from contracts.calls import ModelAnswer
from contracts.flows import FlowRun
from flows.registry import Flows
from tests.unit.flows_fakes import FakeModels

async def main():
    flows = Flows.load()
    for name, input in {"classify": {"text": "s3cret"},
                        "answer": {"question": "s3cret", "documents": ["a"]}}.items():
        await flows.get(name).run(input, FakeModels().run())
    await flows.close()

asyncio.run(main())
print(json.dumps({"threads": threading.active_count(), "devkit": "promptflow._sdk" in sys.modules}))
"""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(ran.stdout) == {"threads": 1, "devkit": False}
    assert ran.stderr == ""
    assert list(tmp_path.iterdir()) == []


async def test_a_dag_cancelled_from_within_leaves_the_process_alive(written: _Written) -> None:
    """Left alone, the SDK starts a thread that ends the process some seconds later."""
    tool = """
        import asyncio
        from promptflow.connections import CustomConnection
        from promptflow.core import tool

        @tool
        async def ask(link: CustomConnection, text: str) -> str:
            raise asyncio.CancelledError
    """
    flow = written.load(ask_dag(tool)).get("it")
    before = set(threading.enumerate())
    with pytest.raises((asyncio.CancelledError, FlowFailed)):
        await flow.run({"text": "a"}, FakeModels().run())
    started = [thread.name for thread in set(threading.enumerate()) - before]
    # Those of a pool, which wait for work, come and go as they are needed.
    assert [name for name in started if not name.startswith(("asyncio_", "ThreadPool"))] == []
