"""What the host reads of an app's own metadata, and how it calls its functions."""

from __future__ import annotations

import asyncio
import threading

import azure.functions as func
import pytest

from devhost.functions_host.app_loader import AppError, Binding
from devhost.functions_host.pumps import (
    PUMP_KINDS,
    PumpKind,
    input_bindings,
    open_pumps,
    split_served,
)
from tests.unit.functions_host_fakes import SAMPLE, function, invoker, loaded


@pytest.fixture(scope="module")
def sample():
    with loaded(SAMPLE) as functions:
        yield {each.name: each for each in functions}


def test_functions_have_their_trigger_and_bindings(sample):
    start = sample["start"]
    assert start.trigger.type == "httpTrigger"
    assert start.trigger.properties["methods"] == ["POST"]
    assert [binding.type for binding in start.bindings] == ["durableClient", "http"]
    assert start.is_async
    assert not start.wants_context
    assert not sample["triple"].is_async
    assert sample["locked"].wants_context
    assert sample["Counter"].trigger.text("entityName") == "Counter"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "it holds 0"),
        ("import azure.functions as f\na = f.FunctionApp()\nb = f.FunctionApp()", "it holds 2"),
        ("raise KeyError('surprise')", "surprise"),
        (
            "import azure.functions as f\napp = f.FunctionApp()\n"
            "for _ in 'ab':\n"
            "    @app.route(route='x')\n"
            "    def twice(req): ...\n",
            "unique",
        ),
    ],
)
def test_a_folder_that_is_no_app_is_refused(tmp_path, source, said):
    (tmp_path / "function_app.py").write_text(source)
    with pytest.raises(AppError, match=said), loaded(tmp_path):
        pass


def test_what_is_not_served_here_is_said_with_the_reason(sample):
    served, unserved = split_served(sample.values(), input_bindings("{}"))
    assert [(each.function.name, each.reason) for each in unserved] == [
        ("on_message", "no queueTrigger here")
    ]
    assert len(served) == len(sample) - 1


def test_a_function_with_a_foreign_binding_is_not_served():
    async def save(req): ...

    saving = function(save, bindings=(Binding("blob", "out", {}),))
    _, unserved = split_served([saving], input_bindings("{}"))
    assert unserved[0].reason == "no blob binding here"


def test_a_new_kind_of_trigger_is_one_more_entry():
    class Pump:
        async def start(self): ...
        async def stop(self, grace): ...

    async def receive(message): ...

    opened = []

    def open_pump(services, functions):
        opened.extend(functions)
        return Pump()

    kinds = (*PUMP_KINDS, PumpKind(frozenset({"queueTrigger"}), open_pump))
    receiver = function(receive, "queueTrigger", "message")
    served, unserved = split_served([receiver], input_bindings("{}"), kinds)
    assert (served, unserved) == ([receiver], [])
    assert isinstance(open_pumps(None, served, kinds)[0], Pump)
    assert opened == [receiver]


async def test_a_function_is_given_trigger_input_bindings_and_context():
    async def greet(name, client, context):
        return name, client, context.function_name, context.trace_context.trace_parent

    client = Binding("durableClient", "client", {})
    greeting = function(greet, parameter="name", bindings=(client, Binding("http", "$return", {})))
    calls = invoker(inputs={"durableClient": lambda binding: f"json of {binding.name}"})
    assert await calls.call(greeting, "Ann", trace_parent="00-a-b-01") == (
        "Ann",
        "json of client",
        "greet",
        "00-a-b-01",
    )


async def test_a_context_is_complete():
    seen: list[func.Context] = []

    def keep(req, context):
        seen.append(context)

    await invoker().call(function(keep), None)
    context = seen[0]
    assert len(context.invocation_id) == 36
    assert context.function_directory == "/app"
    assert context.trace_context.trace_parent.startswith("00-")
    assert (context.trace_context.trace_state, context.trace_context.attributes) == ("", {})
    assert (context.retry_context.retry_count, context.retry_context.max_retry_count) == (0, 0)


async def test_a_synchronous_function_runs_in_a_thread_of_the_pool():
    release = threading.Event()

    def block(req):
        release.wait(10)
        return threading.current_thread().name

    calls = invoker(threads=1)
    running = asyncio.create_task(calls.call(function(block), None))
    await asyncio.sleep(0.01)
    assert calls.in_threads == 1
    release.set()
    assert (await running).startswith("function")
    assert calls.in_threads == 0


async def test_a_cancelled_call_still_occupies_its_thread():
    release = threading.Event()

    def block(req):
        release.wait(10)

    calls = invoker(threads=1)
    running = asyncio.create_task(calls.call(function(block), None))
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert calls.in_threads == 1
    release.set()
    while calls.in_threads:
        await asyncio.sleep(0.01)
