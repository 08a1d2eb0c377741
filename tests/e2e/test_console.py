"""The console in headless Chromium, over a real stack: what a person would click, and see then."""

from __future__ import annotations

import asyncio
import csv
import json
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from playwright.async_api import Browser, Page, expect

from devhost.inference.simulated import Behaviour, Constant
from tests.e2e.chromium import browser, why_not
from tests.e2e.console_lab import TEXTS, ConsoleLab, chat_lines, console_lab
from tests.e2e.console_page import (
    PHONE,
    answer,
    beyond_the_sides,
    check_access,
    console,
    go,
    shot,
    sign_in,
)

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

VIEWS = ["Overview", "Submit", "Jobs", "Batches", "Usage", "Deployments", "Queues", "Keys", "Audit"]


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with browser() as made:
        yield made


@pytest.fixture(scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ConsoleLab]:
    async with console_lab(tmp_path_factory.mktemp("console")) as made:
        await made.live()
        yield made


@pytest.fixture
async def page(chromium: Browser, lab: ConsoleLab) -> AsyncIterator[Page]:
    async with console(chromium, lab) as made:
        yield made


async def test_a_key_is_asked_for_tried_kept_for_the_tab_and_forgotten(chromium, lab):
    context = await chromium.new_context(base_url=lab.stack.http)
    page = await context.new_page()
    await page.goto("/console")
    async with page.expect_request("**/v1/flows") as asked:
        await sign_in(page, "a-key-of-the-platform")
    request = await asked.value
    assert (await request.all_headers())["x-functions-key"] == "a-key-of-the-platform"
    await expect(page.get_by_role("alert")).to_contain_text("did not work")
    async with page.expect_request("**/v1/flows") as asked:
        await sign_in(page, lab.caller)
    request = await asked.value
    assert (await request.all_headers())["authorization"] == f"Bearer {lab.caller}"
    await expect(page.get_by_role("heading", level=1, name="Overview")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("heading", level=1, name="Overview")).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("API key, or function key")).to_be_focused()
    assert await page.evaluate("sessionStorage.length + localStorage.length") == 0
    await context.close()


async def test_a_job_is_submitted_by_its_flows_form_and_watched_to_its_end(page):
    await page.get_by_role("link", name="Submit a job").click()
    await page.get_by_role("link", name="summarize").click()
    await expect(page.get_by_label("max_words")).to_have_value("100")
    await page.get_by_label("max_words").fill("4")
    await page.get_by_role("button", name="Submit job").click()
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text("2 fields are not as expected")
    await expect(page.get_by_label("max_words")).to_have_attribute("aria-invalid", "true")
    await alert.get_by_role("link", name="input.text").click()
    text = page.get_by_label("text required")
    await expect(text).to_be_focused()
    await expect(text).to_have_accessible_description("The text to summarise. Expected string, at"
        " least 1 character(s)")  # fmt: skip
    await text.fill(TEXTS[0])
    await page.get_by_label("max_words").fill("20")
    await page.get_by_role("button", name="Submit job").click()
    title = page.get_by_role("heading", level=1, name="summarize")
    await expect(title).to_contain_text("succeeded")
    await expect(title).to_be_focused()
    await expect(page.get_by_text("What a fine day")).to_be_visible()
    drawn = page.get_by_role("img", name="in queue")
    await expect(drawn).to_have_attribute("aria-label", _has("chat-"))
    await expect(page.get_by_role("region", name="Model calls")).to_contain_text("answered")


async def test_a_list_a_choice_and_json(page, lab):
    await go(page, "Submit")
    await page.get_by_role("link", name="embed Sentence").click()
    await page.get_by_label("text is").select_option("a list of texts")
    await page.get_by_role("textbox", name="text 1").fill("One")
    await page.get_by_role("button", name="Add to text").click()
    await page.get_by_role("textbox", name="text 2").fill("Two")
    await page.get_by_role("button", name="Add to text").click()
    await page.get_by_role("button", name="Remove text 3").click()
    await page.get_by_label("Write it as JSON").check()
    written = page.get_by_label("Input", exact=True)
    assert json.loads(await written.input_value()) == {"text": ["One", "Two"]}
    await written.fill('{"text": ')
    await expect(page.get_by_text("No JSON yet")).to_be_visible()
    await written.fill('{"text": ["One", "Two", "Three"]}')
    async with page.expect_request("**/v1/jobs") as sent:
        await page.get_by_role("button", name="Submit job").click()
    body = (await sent.value).post_data_json
    assert body["input"] == {"text": ["One", "Two", "Three"]}
    await expect(page.get_by_role("heading", level=1)).to_contain_text("succeeded")


async def test_a_job_that_waits_says_until_when_and_is_cancelled(page):
    await go(page, "Submit")
    await page.get_by_role("link", name="summarize").click()
    await page.get_by_label("text required").fill(TEXTS[1])
    await page.get_by_text("Options", exact=True).click()
    await page.get_by_label("Model", exact=True).fill("crowded")
    await page.get_by_role("button", name="Submit job").click()
    title = page.get_by_role("heading", level=1)
    await expect(title).to_contain_text("waiting for capacity")
    await expect(page.get_by_text("Goes on in")).to_be_visible()
    await page.get_by_role("button", name="Cancel job").click()
    await answer(page, "Back")
    await expect(title).to_contain_text("waiting for capacity")
    await page.get_by_role("button", name="Cancel job").click()
    await answer(page, "Cancel job")
    await expect(title).to_contain_text("cancelled")


async def test_a_batch_is_uploaded_watched_read_and_run_again(page, lab, tmp_path):
    file = tmp_path / "drafts-of-today.jsonl"
    file.write_bytes(chat_lines(80, "drafts"))
    await go(page, "Batches")
    await page.get_by_label("File of lines").set_input_files(file)
    await page.get_by_role("button", name="Start batch").click()
    title = page.get_by_role("heading", level=1, name="drafts-of-today.jsonl")
    await expect(title).to_contain_text("completed")
    bar = page.get_by_role("progressbar")
    await expect(bar).to_have_attribute("aria-valuenow", "80")
    failed = page.get_by_role("region", name="Failed lines")
    await expect(failed).to_contain_text("letter-000")
    batch = await lab.call("GET", f"/v1/batches/{page.url.rsplit('/', 1)[1]}")
    assert await failed.get_by_role("row").count() == 1 + batch["request_counts"]["failed"]
    async with page.expect_download() as saving:
        await page.get_by_role("button", name="Download answers").click()
    lines = Path(await (await saving.value).path()).read_text().splitlines()
    assert len(lines) == batch["request_counts"]["completed"]
    await page.get_by_role("button", name="Run failed lines again").click()
    await expect(page.get_by_role("link", name="an earlier batch")).to_be_visible()
    await expect(bar).to_have_attribute("aria-valuemax", str(batch["request_counts"]["failed"]))


async def test_a_file_that_is_wrong_is_told_by_line(page, tmp_path):
    file = tmp_path / "wrong.jsonl"
    file.write_bytes(chat_lines(2, "chat") + b"no json\n" + chat_lines(1, "chat"))
    await go(page, "Batches")
    await page.get_by_label("File of lines").set_input_files(file)
    await page.get_by_role("button", name="Start batch").click()
    errors = page.get_by_role("region", name="Errors by line")
    await expect(errors.get_by_role("row", name="3 invalid_json_line")).to_be_visible()
    await expect(errors.get_by_role("row", name="4 duplicate_custom_id")).to_be_visible()


async def test_a_weight_is_set_by_keyboard_after_a_question(page, lab):
    await go(page, "Deployments")
    slider = page.get_by_role("slider", name="Weight").nth(1)
    await expect(slider).to_have_value("2")
    await slider.focus()
    for _ in range(2):
        await page.keyboard.press("ArrowRight")
    await expect(slider).to_have_attribute("aria-valuetext", _has("4, 40%"))
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Set 4")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_contain_text("From 2 to 4")
    await answer(page, "Set weight")
    picture = page.get_by_role("img", name="Model chat")
    await expect(picture).to_have_attribute("aria-label", re.compile("chat-france is [a-z ]+, 40%"))
    shown = await lab.call("GET", "/v1/deployments/chat-france")
    assert shown["override"] == {"weight": 4.0, "priority": None}
    card = page.get_by_role("article", name="chat-france")
    await card.get_by_text("All workers").click()
    await card.get_by_role("button", name="Back to what is declared").click()
    await expect(picture).to_have_attribute("aria-label", re.compile("chat-france is [a-z ]+, 25%"))


async def test_a_rollout_is_started_followed_and_ended(page):
    await go(page, "Deployments")
    await page.get_by_text("Rollout", exact=True).click()
    await expect(page.get_by_label("Shift calls to")).to_have_value("chat-canary")
    await page.get_by_role("button", name="Start rollout").click()
    await answer(page, "Start rollout")
    steps = page.get_by_role("region", name="Steps")
    await expect(steps).to_contain_text("5%")
    picture = page.get_by_role("img", name="Model chat")
    await expect(picture).to_have_attribute("aria-label", re.compile("chat-canary is [a-z ]+, 5%"))
    await page.get_by_role("button", name="End it and go back").click()
    await answer(page, "End it")
    await expect(page.get_by_role("group").filter(has=steps)).to_contain_text("cancelled")
    await expect(picture).to_have_attribute("aria-label", _has("chat-canary is drained"))


async def test_usage_by_model_is_what_the_ledger_says(page, lab):
    await go(page, "Usage")
    table = page.get_by_role("region", name="Usage by model")
    report = await lab.call("GET", "/v1/usage?group_by=model")
    for row in report["data"]:
        shown = table.get_by_role("row", name=row["model"])
        await expect(shown).to_contain_text(f"{row['requests']:,}")
        if row["currency"]:
            await expect(shown.get_by_title(f"{row['cost']} EUR")).to_be_visible()
    await page.get_by_label("By", exact=True).select_option("Tenant")
    table = page.get_by_role("region", name="Usage by tenant")
    await expect(table.get_by_role("row", name="research")).to_be_visible()
    async with page.expect_download() as saving:
        await page.get_by_role("button", name="Download CSV").click()
    text = Path(await (await saving.value).path()).read_text()
    costs = [Decimal(row["BilledCost"]) for row in csv.DictReader(StringIO(text))]
    assert sum(costs) > 0


async def test_a_key_is_issued_shown_once_used_and_revoked(page, chromium, lab):
    await go(page, "Keys")
    await page.get_by_label("Tenant required").fill("nobody")
    await page.get_by_role("button", name="Issue key").click()
    await expect(page.get_by_role("alert")).to_contain_text("research, sales")
    await page.get_by_label("Tenant required").fill("sales")
    await page.get_by_label("What it is for").fill("Night shift")
    await page.get_by_role("button", name="Issue key").click()
    notice = page.get_by_role("status").filter(has_text="copy it")
    key = await notice.get_by_text("sk-").inner_text()
    async with console(chromium, lab, key) as other:
        await go(other, "Jobs")
        await expect(other.get_by_text("No job yet")).to_be_visible()
    await page.get_by_role("button", name="I have it").click()
    await expect(page.get_by_text(key)).to_have_count(0)
    row = page.get_by_role("row", name="Night shift")
    await expect(row).to_contain_text("active")
    await row.get_by_role("button", name="Revoke").click()
    await answer(page, "Revoke")
    await expect(row).to_contain_text("revoked")
    await go(page, "Audit")
    events = page.get_by_role("region", name="Events")
    await expect(events.get_by_role("row", name="key.revoked").first).to_be_visible()
    await page.get_by_label("Of").select_option("key.issued")
    await expect(events.get_by_role("row", name="key.revoked")).to_have_count(0)
    await expect(events.get_by_role("row", name="key.issued").first).to_be_visible()


async def test_what_was_rejected_is_read_and_purged(page, lab):
    message = ServiceBusMessage('{"flow": "summarise", "input": {}}', message_id="order-17")
    async with (
        ServiceBusClient.from_connection_string(lab.stack.service_bus) as bus,
        bus.get_queue_sender("inference-requests") as sender,
    ):
        await sender.send_messages(message)
    await go(page, "Queues")
    await expect(page.get_by_role("link", name="waiting").nth(2)).to_contain_text("1")
    await shot(page, "queues")
    await page.get_by_role("link", name="waiting").nth(2).click()
    message = page.get_by_role("article", name="Message")
    await expect(message).to_contain_text("order-17")
    await message.get_by_role("button", name="Show the body").click()
    await expect(message.get_by_role("region", name="Body")).to_contain_text("summarise")
    await message.get_by_role("button", name="Resubmit").click()
    await answer(page, "Resubmit")
    await expect(message.get_by_role("alert")).to_be_visible()
    await shot(page, "message")
    await page.get_by_role("button", name="Purge").click()
    purge = page.get_by_role("dialog").get_by_role("button", name="Purge")
    await expect(purge).to_be_disabled()
    await page.get_by_label("To go on, write").fill("inference-rejected")
    await purge.click()
    await expect(page.get_by_text("1 deleted")).to_be_visible()
    await expect(page.get_by_text("No message")).to_be_visible()


async def test_who_may_not_operate_is_not_led_there_and_told_plainly(chromium, lab):
    async with console(chromium, lab, lab.caller) as page:
        links = page.get_by_role("navigation").get_by_role("link")
        await expect(links).to_have_text(["Overview", "Submit", "Jobs", "Batches", "Usage"])
        await go(page, "Jobs")
        await expect(page.get_by_text("No job yet")).to_be_visible()
        await page.goto("/console#/audit")
        await expect(page.get_by_role("alert")).to_contain_text("Not allowed with this key")
        await page.goto("/console#/jobs/job_none")
        await expect(page.get_by_role("alert")).to_contain_text("There is no such job")
        await page.goto("/console#/nowhere")
        await expect(page.get_by_text("There is no such page")).to_be_visible()


async def test_what_is_shown_stays_while_the_service_is_away(page):
    await go(page, "Jobs")
    row = page.get_by_role("row", name="answer")
    await expect(row).to_be_visible()
    await page.context.set_offline(True)
    await expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    await expect(row).to_be_visible()
    await page.context.set_offline(False)
    await expect(page.get_by_role("alert")).to_have_count(0)
    await expect(row).to_be_visible()


async def test_a_view_with_a_fault_says_so_and_leaves_the_others(page):
    await page.route("**/v1/audit*", lambda route: route.fulfill(json={"data": 5}))
    await go(page, "Audit")
    await expect(page.get_by_role("heading", name="This view has failed")).to_be_visible()
    await page.unroute("**/v1/audit*")
    await page.get_by_role("button", name="Try again").click()
    await expect(page.get_by_role("heading", level=1, name="Audit")).to_be_visible()
    await go(page, "Jobs")
    await expect(page.get_by_role("row", name="answer")).to_be_visible()


async def test_the_first_key_leads_past_the_menu(page):
    await page.reload()
    await expect(page.get_by_role("heading", level=1, name="Overview")).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Submit a job")).to_be_focused()


async def test_every_view_is_for_everybody(page):
    for view in VIEWS:
        await go(page, view)
        await check_access(page)
    await go(page, "Jobs")
    await page.get_by_role("row", name="answer").get_by_role("link").click()
    await expect(page.get_by_role("heading", level=1, name="answer")).to_be_visible()
    await check_access(page)
    await go(page, "Submit")
    await page.get_by_role("link", name="summarize").click()
    await page.get_by_role("button", name="Submit job").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await check_access(page)


async def test_every_view_can_be_read_in_the_dark(chromium, lab):
    async with console(chromium, lab, scheme="dark") as page:
        for view in VIEWS:
            await go(page, view)
            await check_access(page, ["color-contrast"])


async def test_every_view_fits_a_phone(chromium, lab):
    async with console(chromium, lab, size=PHONE) as page:
        for view in VIEWS:
            await page.get_by_role("button", name="Menu").click()
            await go(page, view)
            assert await beyond_the_sides(page) == 0, view


async def test_a_batch_is_seen_to_move_and_cancelled(chromium, lab):
    """Pictures of it are kept where SLUICE_CONSOLE_SHOTS says."""
    for name in ("sweden", "france"):
        await lab.steering.set(name, Behaviour(latency=Constant(ms=400), completion_tokens=40))
    running = asyncio.create_task(lab.batch(chat_lines(4000, "chat"), "reviews.jsonl"))
    async with (
        console(chromium, lab) as light,
        console(chromium, lab, scheme="dark") as dark,
        console(chromium, lab, size=PHONE) as phone,
    ):
        await go(dark, "Batches")
        await dark.get_by_role("link", name="reviews.jsonl").click()
        bar = light.get_by_role("progressbar", name="of 4,000 lines")
        await expect(bar).not_to_have_attribute("aria-valuenow", "0")
        await expect(light.locator(".cell.used").first).to_be_visible()
        await shot(light, "overview")
        await go(light, "Deployments")
        await expect(light.get_by_role("img", name="Model chat")).to_contain_text("wait")
        await shot(light, "deployments", light.locator(".gates [data-values='8']").first)
        await phone.goto("/console#/deployments")
        await expect(phone.get_by_role("img", name="Model chat")).to_contain_text("full")
        await shot(phone, "deployments-phone")
        await expect(dark.get_by_role("img", name="Lines a second")).to_be_visible()
        await expect(dark.get_by_text("At this pace it ends in")).to_be_visible()
        await shot(dark, "batch-dark", dark.locator("[data-values='12']"))
        await dark.get_by_role("button", name="Cancel batch").click()
        await answer(dark, "Cancel batch")
        await expect(dark.get_by_role("heading", level=1)).to_contain_text("cancelled")
        assert (await running)["status"] == "cancelled"
        await _shots_of_what_has_ended(light, dark, phone)


async def _shots_of_what_has_ended(light: Page, dark: Page, phone: Page) -> None:
    await go(light, "Jobs")
    await shot(light, "jobs")
    await light.get_by_role("row", name="answer").get_by_role("link").click()
    await expect(light.get_by_role("heading", level=1, name="answer")).to_be_visible()
    await shot(light, "job")
    await go(light, "Submit")
    await light.get_by_role("link", name="summarize").click()
    await light.get_by_role("button", name="Submit job").click()
    await expect(light.get_by_role("alert")).to_be_visible()
    await shot(light, "submit")
    await go(dark, "Usage")
    await shot(dark, "usage-dark")
    await phone.get_by_role("button", name="Menu").click()
    await go(phone, "Jobs")
    await shot(phone, "jobs-phone")


def _has(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text))
