"""A call is redacted for each deployment by that deployment's own setting."""

from __future__ import annotations

import asyncio
import json

import pytest

from contracts.calls import CallScope, ModelCall, Task
from contracts.errors import CallFailed, CallPending, Misconfigured, NoCapacity, PersonalDataRefused
from endpoints import Endpoints
from endpoints.context import Context
from endpoints.settings import Settings
from policies.privacy.redaction import TenantRedaction
from policies.privacy.settings import PrivacySettings
from tests.unit.endpoints_fakes import REFUSED, ScriptedWire, at_least_once, outcomes, reply
from tests.unit.test_endpoints_long_calls import WORKSPACE, Cloud

PROMPT = "Write to jane@example.com"
CALL = ModelCall("m", Task.SCORE, {"text": PROMPT})
PLAIN = ModelCall("m", Task.SCORE, {"text": "Write to nobody"})
ECHO = {"said": "Dear <EMAIL_1>"}


def model(wire, restore=False, mirror=None, hedge=None, **deployments) -> Endpoints:
    """Asked in this order; each with its `personal_data`."""
    named = [
        {
            "name": name,
            "protocol": "aml_online",
            "url": f"http://{name}/score",
            "priority": place,
            "personal_data": personal_data,
        }
        for place, (name, personal_data) in enumerate(deployments.items(), 1)
    ]
    fields = {"deployments": named, "hedge_after_seconds": hedge}
    if mirror is not None:
        fields["mirror"] = {"to": mirror, "percent": 50}
    settings = Settings.model_validate({"models": {"m": fields}})
    rules = PrivacySettings(restore=restore)
    context = Context(wire.clock.clocks, redaction=TenantRedaction(lambda tenant: rules))
    return Endpoints(settings, wire=wire, context=context)


def bodies(wire) -> list[tuple[str, str]]:
    return [(sent.host, json.loads(sent.request.body)["text"]) for sent in wire.sent]


async def test_a_deployment_that_is_not_trusted_sees_placeholders():
    wire = ScriptedWire()
    wire.plays(a=[reply(200, ECHO)])
    answer = await model(wire, a="redacted").invoke(CALL, at_least_once())
    assert bodies(wire) == [("a", "Write to <EMAIL_1>")]
    assert answer.body == ECHO
    assert CALL.payload == {"text": PROMPT}


async def test_the_answer_comes_back_where_the_tenant_asks_for_it():
    wire = ScriptedWire()
    wire.plays(a=[reply(200, ECHO)])
    answer = await model(wire, restore=True, a="redacted").invoke(CALL, at_least_once())
    assert answer.body == {"said": "Dear jane@example.com"}


async def test_a_call_that_moves_on_to_a_trusted_deployment_goes_as_it_is():
    wire, scope = ScriptedWire(), at_least_once()
    wire.plays(a=[reply(503)], b=[reply(200, ECHO)])
    answer = await model(wire, restore=True, a="redacted", b="allowed").invoke(CALL, scope)
    assert bodies(wire) == [("a", "Write to <EMAIL_1>"), ("b", PROMPT)]
    assert answer.body == ECHO, "it was not redacted, so nothing is put back"


async def test_a_deployment_that_refuses_is_passed_over():
    wire, scope = ScriptedWire(), at_least_once()
    wire.plays(b=[reply(200, {})])
    await model(wire, a="refused", b="allowed").invoke(CALL, scope)
    assert outcomes(scope) == [("b", "answered")]


async def test_a_call_without_personal_data_is_not_refused():
    wire = ScriptedWire()
    wire.plays(a=[reply(200, {})])
    await model(wire, a="refused").invoke(PLAIN, at_least_once())
    assert wire.asked == ["a"]


async def test_the_error_says_so_when_nobody_is_left_to_ask():
    wire, scope = ScriptedWire(), at_least_once()
    with pytest.raises(PersonalDataRefused) as refused:
        await model(wire, a="refused", b="refused").invoke(CALL, scope)
    assert refused.value.status == 403
    assert "holds personal data" in refused.value.detail
    assert "jane" not in refused.value.detail
    assert wire.sent == []
    assert scope.attempts == []


async def test_another_deployments_failure_is_told_before_it():
    wire = ScriptedWire()
    wire.plays(b=[REFUSED])
    with pytest.raises(CallFailed):
        await model(wire, a="refused", b="allowed").invoke(CALL, at_least_once())


async def test_waiting_helps_when_the_trusted_one_is_busy():
    wire = ScriptedWire()
    wire.plays(b=[reply(429, retry_after="3")])
    with pytest.raises(NoCapacity):
        await model(wire, a="refused", b="allowed").invoke(CALL, at_least_once())


async def test_a_refused_call_takes_nothing_of_the_deployments_room():
    wire = ScriptedWire()
    wire.plays(a=[reply(200, {})])
    endpoints = model(wire, a="refused")
    for _ in range(50):
        with pytest.raises(PersonalDataRefused):
            await endpoints.invoke(CALL, at_least_once())
    [status] = endpoints.statuses()
    assert status.in_flight == 0
    await endpoints.invoke(PLAIN, at_least_once())


async def test_a_hedged_call_is_redacted_for_each():
    wire = ScriptedWire()
    wire.plays(a=[reply(200, ECHO)], b=[reply(200, ECHO)])
    endpoints = model(wire, hedge=5, a="refused", b="redacted")
    await endpoints.invoke(CALL, at_least_once())
    assert bodies(wire) == [("b", "Write to <EMAIL_1>")]


async def test_a_mirrored_call_obeys_the_shadows_own_setting(monkeypatch):
    monkeypatch.setattr("endpoints.mirroring.random", lambda: 0.0)
    wire = ScriptedWire()
    wire.plays(a=[reply(200, {})], shadow=[reply(200, {})])
    await mirrored(model(wire, mirror="shadow", a="allowed", shadow="redacted"))
    assert bodies(wire) == [("a", PROMPT), ("shadow", "Write to <EMAIL_1>")]

    wire.plays(a=[reply(200, {})])
    await mirrored(model(wire, mirror="shadow", a="allowed", shadow="refused"))
    assert wire.asked == ["a", "shadow", "a"]


async def mirrored(endpoints) -> None:
    await endpoints.invoke(CALL, at_least_once())
    for _ in range(20):
        await asyncio.sleep(0)


async def test_each_tenants_rules_are_its_own():
    wire = ScriptedWire()
    wire.plays(a=[reply(200, {}), reply(200, {})])
    rules = {"strict": PrivacySettings(), "lax": PrivacySettings(kinds=set())}
    deployment = {
        "name": "a",
        "protocol": "aml_online",
        "url": "http://a/score",
        "personal_data": "redacted",
    }
    settings = Settings.model_validate({"models": {"m": {"deployments": [deployment]}}})
    context = Context(wire.clock.clocks, redaction=TenantRedaction(rules.__getitem__))
    endpoints = Endpoints(settings, wire=wire, context=context)
    for tenant in rules:
        await endpoints.invoke(CALL, CallScope("job-1", tenant))
    assert bodies(wire) == [("a", "Write to <EMAIL_1>"), ("a", PROMPT)]


def test_a_deployment_is_never_less_guarded_than_its_settings_say():
    deployment = {
        "name": "a",
        "protocol": "aml_online",
        "url": "http://a/score",
        "personal_data": "redacted",
    }
    settings = Settings.model_validate({"models": {"m": {"deployments": [deployment]}}})
    with pytest.raises(Misconfigured, match="takes personal data out"):
        Endpoints(settings, wire=ScriptedWire())


async def test_deployments_that_may_see_all_are_not_searched_for():
    class Never:
        async def redacted(self, payload, tenant):
            raise AssertionError("it costs nothing where nothing asks for it")

    wire = ScriptedWire()
    wire.plays(a=[reply(200, {})])
    deployment = {"name": "a", "protocol": "aml_online", "url": "http://a/score"}
    settings = Settings.model_validate({"models": {"m": {"deployments": [deployment]}}})
    context = Context(wire.clock.clocks, redaction=Never())
    await Endpoints(settings, wire=wire, context=context).invoke(CALL, at_least_once())


LONG = ModelCall("churn", Task.SCORE, {"inputs": {"who": "jane@example.com"}})


def long_model(cloud: Cloud, **deployments: str) -> Endpoints:
    named = [
        {
            "name": name,
            "protocol": "aml_batch",
            "url": f"https://{name}/jobs",
            "priority": place,
            "workspace": WORKSPACE,
            "personal_data": personal_data,
        }
        for place, (name, personal_data) in enumerate(deployments.items(), 1)
    ]
    settings = Settings.model_validate({"models": {"churn": {"deployments": named}}})
    rules = PrivacySettings(restore=True)
    context = Context(cloud.clock.clocks, redaction=TenantRedaction(lambda tenant: rules))
    return Endpoints(settings, wire=cloud, fetch_token=cloud.fetch_token, context=context)


async def test_a_call_that_outlasts_its_step_is_redacted_too():
    cloud = Cloud()
    endpoints = long_model(cloud, one="redacted")
    first = CallScope("job-1", "t")
    with pytest.raises(CallPending):
        await endpoints.invoke(LONG, first)
    [submitted] = cloud.places["one"].submitted
    assert submitted["InputData"]["who"]["Value"] == "<EMAIL_1>"
    assert "jane" not in repr(first.handles)

    cloud.places["one"].all_are("Completed")
    cloud.clock.advance(60)
    step = CallScope("job-1", "t", handles=first.handles)
    assert (await endpoints.invoke(LONG, step)).body["outputs"]
    assert len(cloud.places["one"].submitted) == 1, "it is found again"


async def test_a_long_call_goes_past_a_deployment_that_may_not_be_told():
    cloud = Cloud()
    with pytest.raises(CallPending):
        await long_model(cloud, one="refused", two="allowed").invoke(LONG, CallScope("j", "t"))
    assert cloud.places["one"].submitted == []
    [submitted] = cloud.places["two"].submitted
    assert submitted["InputData"]["who"]["Value"] == "jane@example.com"
