"""The host and the hub as processes: stopped, killed, restarted, reloaded."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from devhost.stack.network import free_port
from tests.integration.functions_host_harness import (
    SAMPLE,
    Client,
    child,
    functions_host,
    task_hub,
    until,
)

LONG = 100
"""Seconds: a nap that nothing waits for to its end."""
GRACE = "60"
"""Enough on the busiest machine, and no test takes it to its end."""


@pytest.fixture
def hub(tmp_path):
    with task_hub(tmp_path) as running:
        yield running


def lines_of(file) -> int:
    return len(file.read_text().splitlines()) if file.exists() else 0


def start_nap(host, mark, seconds, **more):
    """An instance whose activity has begun to sleep."""
    with Client(base_url=host.address, timeout=120) as client:
        order = {"seconds": seconds, "mark": str(mark), **more}
        client.start_instance("resting", order, instance_id="napper")
    until(lambda: lines_of(mark) or None)


def napper(host):
    with Client(base_url=host.address, timeout=120) as client:
        query = {"code": "the-key"}
        return client.get("/runtime/webhooks/durabletask/instances/napper", params=query).json()


def test_work_that_ends_within_the_grace_is_completed(hub, tmp_path):
    mark = tmp_path / "mark"
    with functions_host(tmp_path, hub.address, "--grace", GRACE) as host:
        start_nap(host, mark, 1)
        host.terminate()
        assert host.process.returncode == 0
    with functions_host(tmp_path, hub.address) as host:
        until(lambda: napper(host)["runtimeStatus"] == "Completed" or None)
    assert lines_of(mark) == 1


def test_work_that_outlasts_the_grace_is_handed_back_and_done_by_the_next_host(hub, tmp_path):
    mark = tmp_path / "mark"
    with functions_host(tmp_path, hub.address, "--grace", "0.3") as host:
        start_nap(host, mark, LONG)
        assert host.terminate() < LONG, "a thread kept the process"
        assert host.process.returncode == 0
    with functions_host(tmp_path, hub.address, "--grace", "0.3") as host:
        until(lambda: lines_of(mark) == 2 or None)
        assert napper(host)["runtimeStatus"] == "Running"


def test_waiting_work_is_handed_back_at_once(hub, tmp_path):
    """17 naps on 16 places: the last has not begun when the host is stopped."""
    mark, end = tmp_path / "mark", tmp_path / "end"
    with functions_host(
        tmp_path, hub.address, "--grace", GRACE, PYTHON_THREADPOOL_THREAD_COUNT="32"
    ) as host:
        with Client(base_url=host.address, timeout=120) as client:
            for number in range(17):
                order = {"seconds": LONG, "mark": str(mark), "end": str(end)}
                client.start_instance("resting", order, instance_id=f"nap-{number}")
        until(lambda: lines_of(mark) == 16 or None)
        host.process.terminate()
        host.wait_for("Finishing")
        end.touch()
        host.process.wait(90)
    assert lines_of(mark) == 16
    with functions_host(tmp_path, hub.address):
        until(lambda: lines_of(mark) == 17 or None)


def test_a_request_that_runs_when_the_host_stops_is_answered(hub, tmp_path):
    mark = tmp_path / "mark"
    with functions_host(tmp_path, hub.address, "--grace", GRACE) as host:
        query = {"code": "the-key", "timeout": "2", "pollingInterval": "1"}
        url = f"{host.address}/runtime/webhooks/durabletask/orchestrators/resting"
        with ThreadPoolExecutor() as pool:
            order = {"seconds": 1, "mark": str(mark)}
            asked = pool.submit(httpx.post, url, params=query, json=order, timeout=120)
            until(lambda: lines_of(mark) or None)
            host.process.terminate()
            assert asked.result().status_code in {200, 202}
        host.process.wait(90)


def test_a_second_signal_ends_the_host_at_once(hub, tmp_path):
    with functions_host(tmp_path, hub.address, "--grace", f"{LONG}") as host:
        start_nap(host, tmp_path / "mark", LONG)
        host.process.terminate()
        host.wait_for("Stopping")
        assert host.terminate() < LONG / 2


def test_the_host_takes_up_work_again_after_the_hub_was_restarted(tmp_path):
    with (
        task_hub(tmp_path, port=free_port()) as first,
        functions_host(tmp_path, first.address) as host,
        Client(base_url=host.address, timeout=120) as client,
    ):
        assert client.run("one", 1)["output"] == 2
        first.kill()
        url = "/api/start/one"
        assert client.post(url, json=1).status_code == 500
        status = "/runtime/webhooks/durabletask/instances/x"
        key = {"code": "the-key"}
        assert client.get(status, params=key).status_code == 503
        with task_hub(tmp_path, port=int(first.address.rpartition(":")[2])):
            until(lambda: client.post(url, json=2).status_code == 202 or None)
            until(lambda: client.get(status, params=key).status_code == 404 or None)
            assert client.run("fan", 10)["output"] == 90
            assert host.log.count("reconnecting") == 1


def test_the_host_waits_for_a_hub_that_comes_later(tmp_path):
    port = free_port()
    address = f"127.0.0.1:{port}"
    arguments = ("--app", str(SAMPLE), "--hub", address, "--port", "0")
    settings = ("--settings", str(SAMPLE / "sample.settings.json"))
    with child(tmp_path, "devhost.functions_host", *arguments, *settings) as host:
        host.wait_for(f"No task hub at {address} yet")
        assert "Host ready" not in host.log
        with task_hub(tmp_path, port=port):
            address = host.wait_for("Host ready: ")
            answer = httpx.get(f"{address}/api/chief", timeout=120)
            assert answer.text == "yes"  # no key given: all open


def test_the_work_of_a_host_that_was_killed_is_given_to_the_next(tmp_path):
    mark, end = tmp_path / "mark", tmp_path / "end"
    with task_hub(tmp_path, "--redelivery-seconds", "0.5") as hub:
        with functions_host(tmp_path, hub.address) as host:
            start_nap(host, mark, LONG, end=str(end))
            host.kill()
        end.touch()
        with functions_host(tmp_path, hub.address) as host:
            until(lambda: napper(host)["runtimeStatus"] == "Completed" or None)
    assert lines_of(mark) == 2


def test_a_changed_file_is_served_and_no_request_is_refused_meanwhile(hub, tmp_path):
    app = tmp_path / "app"
    shutil.copytree(SAMPLE, app, ignore=shutil.ignore_patterns("__pycache__"))
    source = (app / "function_app.py").read_text()
    with functions_host(tmp_path, hub.address, "--reload", app=app) as host:

        def chief() -> str:
            try:
                return httpx.get(f"{host.address}/api/chief?code=the-key", timeout=120).text
            except (httpx.RemoteProtocolError, httpx.ReadError):
                return "closed"  # a connection that the old host had opened and not read from

        assert chief() == "yes"
        time.sleep(0.5)  # the watcher may begin a moment after the host
        (app / "function_app.py").write_text(source.replace('return "yes"', 'return "changed"'))
        until(lambda: chief() == "changed" or None)
        (app / "function_app.py").write_text("this is no Python")
        host.wait_for("waiting for a change")
        (app / "function_app.py").write_text(source.replace('return "yes"', 'return "mended"'))
        until(lambda: chief() == "mended" or None)
        host.terminate()
    assert "Changed: function_app.py" in host.log


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds no function_app.py"),
        ({"function_app.py": "x = 1"}, "it holds 0"),
        ({"function_app.py": "import nothing_there"}, "No module named 'nothing_there'"),
        (
            {"function_app.py": "x = 1", "host.json": '{"extensions": {"http": 3}}'},
            "host.json: extensions.http: expected an object, got 3",
        ),
        ({"local.settings.json": '{"Values": {"A": 1}}'}, "Values.A: expected a string, got 1"),
    ],
)
def test_what_keeps_an_app_from_starting_is_said(tmp_path, files, said):
    app = tmp_path / "app"
    app.mkdir()
    for name, text in files.items():
        (app / name).write_text(text)
    arguments = ("--app", str(app), "--hub", "127.0.0.1:1", "--port", "0")
    with child(tmp_path, "devhost.functions_host", *arguments) as host:
        assert host.process.wait(120) == 1
        assert said in host.log


def test_a_taken_port_is_said(hub, tmp_path):
    port = hub.address.rpartition(":")[2]
    arguments = ("--app", str(SAMPLE), "--hub", hub.address, "--port", port)
    with child(tmp_path, "devhost.functions_host", *arguments) as host:
        assert host.process.wait(120) == 1
        assert "The host cannot start" in host.log
    with child(tmp_path, "devhost.task_hub", "--port", port) as second:
        assert second.process.wait(120) == 1
        assert "The task hub cannot start" in second.log
