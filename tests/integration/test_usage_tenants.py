"""`/v1/usage` with tenants: each sees its own, and who bills sees all."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from contracts.identity import Role
from tests.integration.tenants_lab import RESEARCH, SALES, TenantsLab, tenants_lab

QUESTION = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}
PATH = "/v1/usage?group_by=tenant"


@pytest.fixture(scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TenantsLab]:
    parts = frozenset({"azurite", "hub", "host"})
    async with tenants_lab(tmp_path_factory.mktemp("tenants"), parts) as running:
        for tenant, calls in ((RESEARCH, 3), (SALES, 2)):
            key = (await running.key(tenant)).text
            for _ in range(calls):
                await running.call("POST", "/v1/chat/completions", key, json=QUESTION)
        yield running


async def requests(lab: TenantsLab, who: str) -> dict[str | None, int]:
    rows = (await lab.call("GET", PATH, who))["data"]
    return {row["tenant"]: row["requests"] for row in rows}


@pytest.mark.parametrize(("tenant", "calls"), [(RESEARCH, 3), (SALES, 2)])
async def test_a_tenant_sees_what_is_its_own(lab, tenant, calls):
    key = await lab.key(tenant, [Role.READ, Role.SUBMIT])
    assert await requests(lab, key.text) == {tenant: calls}


@pytest.mark.parametrize("role", [Role.BILL, Role.OPERATE])
async def test_who_bills_or_operates_sees_all(lab, role):
    token = lab.token(SALES, [Role.READ, role])
    until = time.monotonic() + 20
    while (seen := await requests(lab, token)) != {RESEARCH: 3, SALES: 2}:
        assert time.monotonic() < until, seen


async def test_who_may_not_read_sees_nothing(lab):
    key = await lab.key(RESEARCH, [Role.SUBMIT])
    await lab.call("GET", PATH, key.text, status=403)
    await lab.call("GET", PATH, None, status=401)


async def test_csv_too_tells_of_no_other_tenant(lab):
    key = await lab.key(RESEARCH, [Role.READ])
    headers = {"Authorization": f"Bearer {key.text}", "Accept": "text/csv"}
    async with lab.http.get(PATH, headers=headers) as answer:
        text = await answer.text()
    assert RESEARCH in text
    assert SALES not in text
