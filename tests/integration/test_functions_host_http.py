"""HTTP triggers, keys, settings and the admin API, over a real socket."""

from __future__ import annotations

import os

import pytest

from tests.integration.functions_host_harness import (
    KEY,
    Client,
    functions_host,
    task_hub,
    until,
)


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    folder = tmp_path_factory.mktemp("http")
    with (
        task_hub(folder) as hub,
        functions_host(
            folder,
            hub.address,
            FROM_THE_ENVIRONMENT="here",
            GREETING="from the environment",
            FUNCTIONS_REQUEST_BODY_SIZE_LIMIT=str(8 * 1024 * 1024),
        ) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def client(host):
    with Client(base_url=host.address, timeout=120) as client:
        yield client


def test_a_binary_body_goes_in_and_out_unchanged(client):
    body = os.urandom(5 * 1024 * 1024)
    response = client.post("/api/echo/Ann/a/b%2Fc", content=body)
    assert response.status_code == 200
    assert response.content == body
    assert response.headers["content-type"] == "application/octet-stream"


def test_a_function_sees_route_values_query_and_headers(client):
    response = client.get(
        "/API/Echo/Ann/a/b%2Fc",
        params=[("q", "1"), ("q", "2")],
        headers=[("x-tag", "red"), ("x-tag", "blue")],
    )
    assert response.headers["x-name"] == "Ann"
    assert response.headers["x-rest"] == "a/b/c"
    assert response.headers["x-query"] == "1,2"
    assert [tag.strip() for tag in response.headers["x-tags"].split(",")] == ["red", "blue"]


def test_a_repeated_header_of_a_response_arrives_repeated(client):
    response = client.get("/api/echo/Ann")
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nowhere", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/api/echo/1234", 404),  # not :alpha
        ("DELETE", "/api/echo/Ann", 405),
        ("HEAD", "/api/echo/Ann", 200),
        ("HEAD", "/api/silent", 405),
        ("OPTIONS", "/api/echo/Ann", 204),
        ("POST", "/api/silent", 204),
        ("GET", "/admin/nothing", 404),
        ("GET", "/runtime/webhooks/durabletask/nothing", 401),
    ],
)
def test_status_of_methods_and_paths(client, method, path, status):
    response = client.request(method, path)
    assert response.status_code == status
    if status in {204, 405} and "echo" in path:
        assert response.headers["allow"] == "GET, HEAD, OPTIONS, POST, PUT"


@pytest.mark.parametrize("path", ["/api/locked", "/api/chief", "/admin/functions"])
def test_a_key_opens_what_needs_one(client, path):
    assert client.get(path).status_code == 401
    assert client.get(path, params={"code": "wrong"}).status_code == 401
    assert client.get(path, headers={"x-functions-key": "ü".encode()}).status_code == 401
    assert client.get(path, params={"code": KEY}).status_code == 200
    assert client.get(path, headers={"x-functions-key": KEY}).status_code == 200


def test_a_function_is_given_its_context(client):
    assert client.get("/api/locked", params={"code": KEY}).text == "locked True"


def test_a_function_that_raises_answers_500_and_is_logged_once(client, host):
    response = client.get("/api/broken")
    assert response.status_code == 500
    assert "secret" not in response.text
    host.wait_for("RuntimeError: a secret of the inside")
    assert host.log.count("RuntimeError: a secret of the inside") == 1
    assert "Function broken raised" in host.log


def test_settings_come_from_the_file_and_the_environment_wins(client):
    assert client.get("/api/setting/TICK_SCHEDULE").text == "0 0 0 1 1 *"
    assert client.get("/api/setting/FROM_THE_ENVIRONMENT").text == "here"
    assert client.get("/api/setting/GREETING").text == "from the environment"


def test_a_body_over_the_limit_is_refused_whether_announced_or_not(client):
    large = b"x" * (9 * 1024 * 1024)
    assert client.post("/api/echo/Ann", content=large).status_code == 413

    def chunks():
        yield from [b"x" * 1024 * 1024] * 8
        yield b"x"

    assert client.post("/api/echo/Ann", content=chunks()).status_code == 413
    assert client.get("/api/echo/Ann").status_code == 200


def test_a_timer_fires_at_start_when_it_asks_for_that(client):
    until(lambda: client.get("/api/ticks").text == "1" or None)


def test_the_admin_api_says_what_runs(client):
    status = client.get("/admin/host/status", params={"code": KEY}).json()
    assert status["state"] == "Running"
    functions = {f["name"]: f for f in client.get("/admin/functions", params={"code": KEY}).json()}
    assert functions["echo"]["invoke_url_template"].endswith("/api/echo/{name:alpha}/{*rest}")
    assert functions["double"]["config"]["bindings"][0]["type"] == "activityTrigger"


def test_the_start_lists_functions_and_what_is_not_served(host):
    assert f"  echo: [GET,POST,PUT] {host.address}/api/echo/{{name:alpha}}/{{*rest}}" in host.log
    assert "  Counter: entityTrigger" in host.log
    assert "  on_message: no queueTrigger here" in host.log
    assert KEY not in host.log
