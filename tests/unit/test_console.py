"""The console's files as they are served: which, to whom, and with which headers."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from contracts.audit import AuditAction
from tests.unit.http_fakes import Caller, asked
from tests.unit.indexed import indexed
from triggers.console import FOLDER, MEDIA_TYPES, console, pages

MOST_BYTES = 200_000
"""Of everything that the page loads."""


async def served(path: str | None = None, **headers: str):
    route_params = {} if path is None else {"path": path}
    request = asked(path="/console", route_params=route_params, headers=headers)
    return await console(request)  # type: ignore[arg-type]


def test_it_is_open_to_all_and_answers_for_every_path():
    (trigger,) = [each.get_trigger() for each in indexed() if each.get_function_name() == "console"]
    assert trigger.route == "console/{*path}"
    assert trigger.auth_level.value.lower() == "anonymous"


async def test_the_first_page_without_a_path():
    response = await served()
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert await Caller().hear(response) == (FOLDER / "index.html").read_bytes()


@pytest.mark.parametrize("path", sorted(pages()))
async def test_every_file_says_what_it_is_and_is_sent_once(path):
    response = await served(path)
    assert response.headers["content-type"] == MEDIA_TYPES[f".{path.rsplit('.', 1)[1]}"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "script-src 'self';" in response.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    etag = response.headers["etag"]
    for known in (etag, f'"other", W/{etag}'):
        again = await served(path, **{"If-None-Match": known})
        assert (again.status_code, again.body, again.headers["etag"]) == (304, b"", etag)
    assert (await served(path, **{"If-None-Match": '"other"'})).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["none.js", "../function_app.py", "views/../index.html", "/etc/passwd", "views", "README.md"],
)
async def test_no_other_file_is_served(path):
    response = await served(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


class _Tags(HTMLParser):
    """What a page names, and what stands in it that its policy would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.named: set[str] = set()
        self.refused: list[str] = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.named |= {values[name] for name in ("src", "href") if name in values}
        inline = tag == "style" or (tag == "script" and "src" not in values)
        if inline or any(name == "style" or name.startswith("on") for name in values):
            self.refused.append(tag)


def test_what_the_page_names_is_there_and_nothing_is_inline():
    tags = _Tags()
    tags.feed((FOLDER / "index.html").read_text(encoding="utf-8"))
    files = {name.removeprefix("/console/") for name in tags.named if name.startswith("/console/")}
    assert tags.refused == []
    assert files <= pages().keys()
    scripts = {path for path in pages() if path.endswith(".js")}
    assert scripts <= files, "what is not named is found out about late"


def test_every_import_leads_to_a_file():
    for path in pages():
        if not path.endswith(".js"):
            continue
        text = (FOLDER / path).read_text(encoding="utf-8")
        for name in re.findall(r"""(?:from|import)\s*["'](\.[^"']+)["']""", text):
            assert (FOLDER / path).parent.joinpath(name).resolve().is_file(), (path, name)


def test_the_audit_view_knows_every_action():
    text = (FOLDER / "views" / "audit.js").read_text(encoding="utf-8")
    listed = text.split("const ACTIONS = [", 1)[1].split("]", 1)[0]
    assert re.findall(r"'([^']+)'", listed) == list(AuditAction)


def test_all_of_it_is_small():
    assert sum(len(page.body) for page in pages().values()) < MOST_BYTES
