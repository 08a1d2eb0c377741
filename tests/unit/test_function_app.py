"""What Azure Functions indexes: names, triggers, and the cost of importing the app."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from azure_functions_runtime.bindings.meta import load_binding_registry
from azure_functions_runtime.functions import Registry

from tests.unit.indexed import indexed

ROOT = Path(__file__).parents[2]


class Protos:
    """What the worker takes of its protocol for this."""

    class BindingInfo:
        undefined, out, inout = range(3)


def bindings() -> dict[str, list[dict]]:
    return {
        function.get_function_name(): json.loads(function.get_function_json())["bindings"]
        for function in indexed()
    }


def test_the_functions_of_the_app():
    names = {name for name in bindings() if not name.lower().startswith(("builtin", "__"))}
    assert names >= {
        "submit_job",
        "get_job",
        "get_job_result",
        "cancel_job",
        "list_jobs",
        "list_flows",
        "healthz",
        "openapi",
        "job",
        "run_job",
    }


@pytest.mark.parametrize("name", ["submit_job", "get_job", "cancel_job", "list_jobs"])
def test_doors_to_jobs_need_a_key_and_get_a_durable_client(name):
    kinds = {binding["type"]: binding for binding in bindings()[name]}
    assert kinds["httpTrigger"]["authLevel"].lower() == "function"
    assert "durableClient" in kinds


@pytest.mark.parametrize("function", indexed(), ids=lambda each: each.get_function_name())
def test_the_vendors_worker_takes_each_function(function):
    """It holds parameters and annotations against the bindings, with rules of its own."""
    load_binding_registry()
    taken = Registry().add_indexed_function(function, Protos)
    if function.get_trigger().get_binding_name() == "httpTrigger":
        assert taken.is_http_func
        assert taken.is_async, "a thread for each request"


@pytest.mark.parametrize(
    "name", ["run_job", "run_slice", "chat_completions", "embeddings", "responses"]
)
def test_what_calls_models_gets_the_hub_by_which_workers_share(name):
    (hub,) = [binding for binding in bindings()[name] if binding["type"] == "durableClient"]
    assert hub["name"] == "hub"
    assert hub["durableRequiresGrpc"] is True


def test_importing_the_app_loads_no_flow_sdk():
    code = (
        "import sys, function_app;"
        "heavy = ('semantic_kernel', 'promptflow', 'openai', 'azure.identity', 'numpy',"
        " 'azure.storage', 'azure.servicebus', 'fastapi', 'uvicorn');"
        "print([name for name in heavy if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    assert printed.stdout.decode().strip() == "[]"


def test_host_json_serves_routes_without_a_prefix_and_names_the_bundle_of_durable_2():
    host = json.loads((ROOT / "host.json").read_text())
    assert host["extensions"]["http"]["routePrefix"] == ""
    assert host["extensionBundle"]["id"].endswith("ExtensionBundle.Preview")
    # A repeated request must never restart a job that runs.
    durable = host["extensions"]["durableTask"]
    assert durable["overridableExistingInstanceStates"] == "NonRunningStates"
