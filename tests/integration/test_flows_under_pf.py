"""The shipped PromptFlow folders, unchanged, under PromptFlow's own command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from contracts.calls import JsonObject

FLOWS = Path(__file__).parents[2] / "flows"
PF = Path(sys.executable).with_name("pf")

KEYRING = """
import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend


class FileKeyring(KeyringBackend):
    priority = 1
    path = Path(os.environ["PF_HOME_DIRECTORY"], "keyring.json")

    def get_password(self, service, username):
        return self.all().get(username)

    def set_password(self, service, username, password):
        self.path.write_text(json.dumps({**self.all(), username: password}))

    def all(self):
        return json.loads(self.path.read_text()) if self.path.exists() else {}
"""
"""pf keeps the key of its connections in the system's keyring, and servers have none."""


class Service(ThreadingHTTPServer):
    """Answers as the models would, outside Sluice; notes path, key and body of each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, str, JsonObject]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Service)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, self.headers["Authorization"], body))
        answer = json.dumps(_answer(self.path, body)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


def _answer(path: str, body: JsonObject) -> JsonObject:
    match path:
        case "/score":
            return {"label": "delivery", "scores": {"delivery": 1.0}}
        case "/v1/embeddings":
            assert isinstance(body["input"], list)
            vectors: list[list[float]] = [[1, 0], [0, 1], [1, 0]]
            return {"data": [{"index": i, "embedding": vectors[i]} for i in range(3)]}
    return {"choices": [{"message": {"role": "assistant", "content": "4,806 metres."}}]}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    service = Service()
    thread = threading.Thread(target=service.serve_forever)
    thread.start()
    yield service
    service.shutdown()
    thread.join()
    service.server_close()


@pytest.fixture(scope="module")
def pf(tmp_path_factory: pytest.TempPathFactory, service: Service) -> _Pf:
    pf = _Pf(tmp_path_factory.mktemp("pf"))
    pf.connect("classifier", type="custom", configs={"url": f"{service.url}/score"})
    for name in ("embed", "chat"):
        pf.connect(name, type="open_ai", api_key=f"key of {name}", base_url=f"{service.url}/v1")
    return pf


class _Pf:
    """The `pf` command with a home of its own, that tells nobody and starts no service."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "pf.yaml").write_text(
            "telemetry: {enabled: false}\ntrace: {destination: none}\n", encoding="utf-8"
        )
        (home / "file_keyring.py").write_text(KEYRING, encoding="utf-8")
        self.env = {
            **os.environ,
            "HOME": str(home),
            "PF_HOME_DIRECTORY": str(home),
            "PYTHONPATH": str(home),
            "PYTHON_KEYRING_BACKEND": "file_keyring.FileKeyring",
            "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
            "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
        }

    def __call__(self, *arguments: str) -> str:
        ran = subprocess.run(
            [PF, *arguments],
            check=False,
            env=self.env,
            cwd=self.home,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def connect(self, name: str, **described: object) -> None:
        secrets = {"secrets": {"key": f"key of {name}"}} if described["type"] == "custom" else {}
        file = self.home / f"{name}.yaml"
        # JSON is YAML.
        file.write_text(json.dumps({"name": name, **described, **secrets}), encoding="utf-8")
        self("connection", "create", "--file", str(file))

    def test(self, flow: str, inputs: dict[str, str]) -> JsonObject:
        folder = self.home / flow
        shutil.copytree(FLOWS / flow, folder, ignore=shutil.ignore_patterns("__pycache__"))
        given = [f"{name}={value}" for name, value in inputs.items()]
        printed = self("flow", "test", "--flow", str(folder), "--inputs", *given)
        result: JsonObject = json.loads(printed[printed.index("\n{") if printed[0] != "{" else 0 :])
        return result


def test_classify(pf: _Pf, service: Service) -> None:
    result = pf.test("classify", {"text": "The parcel is late."})
    assert result == {"label": "delivery", "scores": {"delivery": 1.0}}
    path, key, body = service.seen[-1]
    assert (path, key, body["text"]) == (
        "/score",
        "Bearer key of classifier",
        "The parcel is late.",
    )


def test_answer(pf: _Pf, service: Service) -> None:
    result = pf.test("answer", {"question": "How high?", "documents": '["Far.", "Near."]'})
    assert result == {"answer": "4,806 metres.", "sources": [1, 0]}
    assert [(path, key) for path, key, _ in service.seen[-2:]] == [
        ("/v1/embeddings", "Bearer key of embed"),
        ("/v1/chat/completions", "Bearer key of chat"),
    ]
    assert service.seen[-1][2]["model"] == "gpt-4o-mini"
