"""The console in a browser, and how it is looked at."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Browser, Locator, Page, expect

from tests.e2e.chromium import AXE
from tests.e2e.console_lab import ConsoleLab

PATIENCE_MS = 60_000
"""For anything to show, on a machine that has much else to do."""
DESK = {"width": 1280, "height": 860}
PHONE = {"width": 360, "height": 740}
SHOTS = "SLUICE_CONSOLE_SHOTS"
"""The environment variable with the folder that screenshots are kept in; without it they are not
taken: `SLUICE_CONSOLE_SHOTS=docs/console ./dev test tests/e2e/test_console.py`."""
GRAVE = ("serious", "critical")

expect.set_options(timeout=PATIENCE_MS)


@asynccontextmanager
async def console(
    browser: Browser,
    lab: ConsoleLab,
    key: str | None = None,
    *,
    scheme: Literal["light", "dark"] = "light",
    size: dict[str, int] = DESK,
) -> AsyncIterator[Page]:
    """A page that is signed in. Ends with an AssertionError when the browser had to complain."""
    context = await browser.new_context(
        base_url=lab.stack.http,
        viewport=size,  # type: ignore[arg-type]
        color_scheme=scheme,
        reduced_motion="reduce",
        timezone_id="UTC",
    )
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if _bad(message) else None)
    try:
        await page.goto("/console")
        await sign_in(page, lab.operator if key is None else key)
        await expect(page.get_by_role("heading", level=1, name="Overview")).to_be_visible()
        yield page
        assert complaints == []
    finally:
        await context.close()


def _bad(message: Any) -> bool:
    """A refused request is logged by the browser as an error, and shown by the page."""
    return message.type == "error" and "Failed to load resource" not in message.text


async def sign_in(page: Page, key: str) -> None:
    await page.get_by_label("API key, or function key").fill(key)
    await page.get_by_role("button", name="Sign in").click()


async def go(page: Page, view: str) -> None:
    """To one of the menu's views; returns when it shows what it has to show."""
    link = page.get_by_role("navigation", include_hidden=True).locator("a", has_text=view)
    await link.click()
    await expect(link).to_have_attribute("aria-current", "page")
    await settled(page)


async def settled(page: Page) -> None:
    """What the view asks for has come."""
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    await expect(page.get_by_role("status", name="Loading")).to_have_count(0)


async def answer(page: Page, button: str) -> None:
    """What the dialog asks."""
    await page.get_by_role("dialog").get_by_role("button", name=button).click()


async def shot(page: Page, name: str, until: Locator | None = None) -> None:
    """As docs/console/NAME.png, where that is asked for; once there is something to see there."""
    if folder := os.environ.get(SHOTS):
        if until is not None:
            await expect(until).to_be_visible()
        Path(folder).mkdir(parents=True, exist_ok=True)
        await page.mouse.move(0, 0)
        await page.screenshot(path=Path(folder) / f"{name}.png")


async def check_access(page: Page, rules: list[str] | None = None) -> None:
    """No grave fault by axe-core's rules, or by these of them."""
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    chosen = {} if rules is None else {"runOnly": rules}
    found = await page.evaluate("chosen => axe.run(chosen)", chosen)
    faults = [
        (fault["id"], [node["html"] for node in fault["nodes"]])
        for fault in found["violations"]
        if fault["impact"] in GRAVE
    ]
    assert faults == []
    assert found["passes"], "a rule has been looked at"


async def beyond_the_sides(page: Page) -> int:
    """By how many pixels the page is wider than what shows it."""
    root = "document.documentElement"
    wider: int = await page.evaluate(f"{root}.scrollWidth - {root}.clientWidth")
    return wider
