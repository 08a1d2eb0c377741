"""The local stack reads the same deployment.yml that Azure ML takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from devhost.inference.settings import model_servers, read_deployment

DEPLOYMENT = """
name: green
endpoint_name: ranker
code_configuration: {code: .., scoring_script: ranker/score.py}
model: azureml:anything:1
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "ranker" / "deployment.yml"
    path.parent.mkdir()
    path.write_text(text)
    return path


def test_the_shipped_models():
    servers = {server.endpoint: server for server in model_servers()}

    assert servers.keys() == {"embed", "classifier", "chat"}
    for server in servers.values():
        assert server.script.is_file()
        assert (server.code / "minilm").is_dir()


def test_what_is_not_said_is_as_in_azure(tmp_path):
    server = read_deployment(write(tmp_path, DEPLOYMENT))

    assert (server.endpoint, server.deployment) == ("ranker", "green")
    assert server.script == tmp_path / "ranker" / "score.py"
    assert (server.concurrency, server.timeout_seconds) == (1, 5)


def test_concurrency_is_over_all_instances(tmp_path):
    limits = "request_settings: {max_concurrent_requests_per_instance: 4}\ninstance_count: 3\n"
    assert read_deployment(write(tmp_path, DEPLOYMENT + limits)).concurrency == 12


def test_a_timeout_that_azure_would_refuse_is_refused(tmp_path):
    limits = "request_settings: {request_timeout_ms: 200000}\n"
    with pytest.raises(ValidationError, match="request_timeout_ms"):
        read_deployment(write(tmp_path, DEPLOYMENT + limits))
