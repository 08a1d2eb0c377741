"""The folders of flows/: which are loaded, which are broken and why, what may be asked of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import InvalidRequest, NotFound
from contracts.problems import FieldProblem
from flows import registry
from flows.registry import Flows
from tests.unit.flows_fakes import FakeModels, reason, write

ROOT = Path(__file__).parents[2]

GOOD = """
    description: Asks.
    model: chat
    task: chat
    input: {type: object, properties: {text: {type: string}}, required: [text]}
    request: {messages: [{role: user, content: "{{ input.text }}"}]}
"""


def test_the_shipped_flows() -> None:
    flows = Flows.load()
    assert flows.broken == []
    assert {info.name: (info.kind, info.models) for info in flows.infos} == {
        "answer": ("promptflow_flex", ["embed", "chat"]),
        "classify": ("promptflow_dag", ["classifier"]),
        "embed": ("direct", ["embed"]),
        "summarize": ("semantic_kernel", ["chat"]),
    }
    assert all(info.description for info in flows.infos)


@pytest.mark.parametrize(
    ("name", "good", "bad", "problem"),
    [
        (
            "summarize",
            {"text": "A.", "max_words": 20},
            {"text": "A.", "max_words": 2},
            ("input.max_words", "integer, at least 5, at most 1000"),
        ),
        (
            "classify",
            {"text": "A.", "labels": ["a", "b"]},
            {"text": "A.", "labels": ["a", 7]},
            ("input.labels.1", "string, at least 1 character(s)"),
        ),
        (
            "answer",
            {"question": "Who?", "documents": []},
            {"question": "Who?"},
            ("input.documents", "array of string"),
        ),
        (
            "embed",
            {"text": ["a", "b"]},
            {"texts": "a", "text": "a"},
            ("input.texts", "no such field; known: text"),
        ),
    ],
)
def test_the_shipped_flows_check_their_input(
    name: str, good: dict[str, object], bad: dict[str, object], problem: tuple[str, str]
) -> None:
    flows = Flows.load()
    flows.check(name, good)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest) as raised:
        flows.check(name, bad)  # type: ignore[arg-type]
    assert raised.value.problems == [FieldProblem(field=problem[0], expected=problem[1])]


def test_loading_imports_no_flow_sdk() -> None:
    code = (
        "import sys; from flows.registry import Flows; flows = Flows.load(); "
        "assert len(flows.infos) == 4, flows.broken; "
        "print(sorted({'semantic_kernel', 'promptflow', 'openai', 'aiohttp'} & sys.modules.keys()))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


async def test_a_broken_folder_leaves_the_others_working(tmp_path: Path) -> None:
    write(tmp_path, {"good/flow.yaml": GOOD, "broken/flow.yaml": "model: ["})
    flows = Flows.load(tmp_path)
    assert [info.name for info in flows.infos] == ["good"]
    assert [flow.name for flow in flows.broken] == ["broken"]
    assert await flows.get("good").run({"text": "hi"}, FakeModels(chat="yes").run()) == "yes"


def test_folders_that_are_no_flows_are_left_alone(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"_draft/x": "", ".git/x": "", "adapters/x": "", "__pycache__/x": "", "README.md": ""},
    )
    flows = Flows.load(tmp_path)
    assert (flows.infos, flows.broken) == ([], [])


@pytest.mark.parametrize(
    ("folder", "files", "expected"),
    [
        ("Loud", {"flow.yaml": GOOD}, "expected a name of small letters"),
        ("it", {"notes.txt": ""}, "found none of them"),
        (
            "it",
            {"flow.yaml": GOOD, "prompt.yaml": "template: hi"},
            "found flow.yaml and prompt.yaml",
        ),
        ("it", {"flow.yaml": "a: b: c"}, "flow.yaml:1: expected valid YAML"),
        ("it", {"flow.yaml": "just text"}, "flow.yaml:1: expected fields"),
        ("it", {"flow.yaml": GOOD + "    model: again\n"}, "flow.yaml:6: model expected each"),
        ("it", {"flow.yaml": GOOD.replace("model: chat", "")}, "model: expected this field"),
        ("it", {"flow.yaml": GOOD.replace("model: chat", "modell: chat")}, "modell: expected"),
        (
            "it",
            {"flow.yaml": GOOD.replace("task: chat", "task: sing")},
            "flow.yaml:3: task: expected 'chat', 'embeddings', 'responses' or 'score'",
        ),
        (
            "it",
            {"flow.yaml": GOOD.replace("{type: string}", "{type: text}")},
            "flow.yaml: expected a JSON Schema of the input; properties.text.type",
        ),
        (
            "it",
            {"flow.yaml": GOOD.replace("type: object, ", "")},
            "flow.yaml:4: input: expected `type: object`",
        ),
        (
            "it",
            {"flow.yaml": GOOD.replace("input.text }}", "input. }}")},
            "flow.yaml:5: request.messages.0.content: expected a Jinja template",
        ),
        ("it", {"flow.yaml": GOOD, "json.py": ""}, "json.py: expected a name that no"),
    ],
)
def test_why_a_folder_is_broken(
    tmp_path: Path, folder: str, files: dict[str, str], expected: str
) -> None:
    write(tmp_path / folder, files)
    assert expected in reason(tmp_path, folder)


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "it").mkdir()
    (tmp_path / "it" / "flow.yaml").write_bytes(b"description: \xff")
    assert reason(tmp_path) == "flow.yaml: expected a readable UTF-8 file (UnicodeDecodeError)"


def test_whatever_a_folder_does_the_others_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object) -> None:
        raise RecursionError

    write(tmp_path, {"good/flow.yaml": GOOD, "it/prompt.yaml": "template: hi"})
    monkeypatch.setitem(registry._KINDS, "prompt.yaml", bug)
    flows = Flows.load(tmp_path)
    assert [info.name for info in flows.infos] == ["good"]
    assert reason(tmp_path) == "RecursionError while it was read; see the log"


def test_a_model_that_deployments_do_not_have(tmp_path: Path) -> None:
    write(tmp_path, {"it/flow.yaml": GOOD})
    flows = Flows.load(tmp_path, models=["embed", "chatty"])
    assert flows.broken[0].reason == (
        "flow.yaml: expected models of deployments.yaml (chatty, embed), found chat"
    )
    assert Flows.load(tmp_path, models=["chat"]).broken == []


def test_an_unknown_flow_is_told_the_known_ones(tmp_path: Path) -> None:
    write(tmp_path, {"good/flow.yaml": GOOD, "fine/flow.yaml": GOOD, "it/flow.yaml": ""})
    flows = Flows.load(tmp_path)
    with pytest.raises(NotFound, match="no flow 'god'; expected one of fine, good"):
        flows.get("god")
    with pytest.raises(InvalidRequest) as raised:
        flows.check("it", {"text": "a"})
    expected = "one of fine, good ('it' is broken: see GET /v1/flows)"
    assert raised.value.problems == [FieldProblem(field="flow", expected=expected)]


def test_a_model_may_be_chosen_only_where_there_is_one() -> None:
    flows = Flows.load()
    flows.check("embed", {"text": "a"}, model="embed-large")
    with pytest.raises(InvalidRequest) as raised:
        flows.check("answer", {"question": "Who?", "documents": []}, model="chat-large")
    assert raised.value.problems == [
        FieldProblem(field="model", expected="no model: flow 'answer' calls embed and chat")
    ]
