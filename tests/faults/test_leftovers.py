"""That a stack which leaves something behind would be found out."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from tests.faults import leftovers
from tests.faults.leftovers import alive, listening, marked, nothing_is_left

LISTEN = """
import socket, sys
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()
"""
PARENT = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", {LISTEN!r}], start_new_session=True)
"""


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr(leftovers, "LAST_SECONDS", 0.1)


async def test_a_process_that_lost_its_parent_is_found_with_its_port():
    with marked() as mark:
        parent = subprocess.Popen(
            [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    with parent:
        port = int(parent.stdout.readline())
        parent.wait()
        [orphan] = alive(mark)
        assert listening(mark) == {port}
        with pytest.raises(AssertionError, match=r"left behind: .*create_server"):
            await nothing_is_left(mark, set())
        orphan.kill()
        while alive(mark):
            pass
    await nothing_is_left(mark, {port})


async def test_a_port_that_is_still_taken_is_found():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(AssertionError, match=rf"still listened on: \[{port}\]"):
            await nothing_is_left("no such mark", {port})


async def test_what_is_not_marked_is_not_looked_at():
    command = [sys.executable, "-c", LISTEN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL):
        assert alive("no such mark") == []
