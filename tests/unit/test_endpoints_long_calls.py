"""Long calls behind the doors of `Endpoints`: who is asked, with which token, what is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from contracts.calls import CallHandle, CallScope, ModelCall, Task, UsageRecord
from contracts.errors import (
    CallFailed,
    CallGivenUp,
    CallPending,
    DependencyUnavailable,
    EndpointUnusable,
    NoCapacity,
    OutcomeUnknown,
    PayloadTooLarge,
)
from contracts.states import Execution
from endpoints import Endpoints, long_running
from endpoints.context import Context
from endpoints.credentials import Token, TokenUnavailable
from endpoints.long_calls import LongDeployment
from endpoints.protocols.aml_batch import AmlBatchSettings
from endpoints.settings import Settings, SettingsError, load
from endpoints.wire import Limits, NoReply, Reply, Request
from tests.unit.batch_fakes import LOST, REFUSED, BatchEndpoint, always
from tests.unit.endpoints_fakes import NOON, Clock, outcomes, reply

WORKSPACE = (
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
)
IDENTITY = {"managed_identity": "https://ml.azure.com/.default"}
CALL = ModelCall("churn", Task.SCORE, {"inputs": {"mode": "append"}})


@dataclass
class Cloud:
    """Two batch endpoints, and Resource Manager, which belongs to both."""

    clock: Clock = field(default_factory=Clock)
    places: dict[str, BatchEndpoint] = field(
        default_factory=lambda: {"one": BatchEndpoint(), "two": BatchEndpoint()}
    )
    sent: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    no_token: bool = False
    metered: list[UsageRecord] = field(default_factory=list)

    async def send(
        self, request: Request, headers: Mapping[str, str], limits: Limits
    ) -> Reply | NoReply:
        host = str(request.url.host)
        self.sent.append((request.method, str(request.url), headers))
        place = self.places.get(host) or self.places["one"]
        return await place.exchange(request)

    async def open(
        self, request: Request, headers: Mapping[str, str], limits: Limits
    ) -> Reply | NoReply:
        raise AssertionError("long calls are never streamed")

    async def aclose(self) -> None: ...

    async def fetch_token(self, scope: str) -> Token:
        self.tokens.append(scope)
        if self.no_token:
            raise TokenUnavailable("none")
        return Token(f"token {len(self.tokens)} of {scope}", NOON.timestamp() + 10**9)

    def endpoints(self, *names: str, **fields: object) -> Endpoints:
        deployments = [
            {
                "name": f"batch-{name}",
                "protocol": "aml_batch",
                "url": f"https://{name}/jobs",
                "check_seconds": 30,
                "priority": place,
                "workspace": WORKSPACE,
                **fields,
            }
            for place, name in enumerate(names, 1)
        ]
        settings = Settings.model_validate({"models": {"churn": {"deployments": deployments}}})
        context = Context(clocks=self.clock.clocks, meter=self.metered.append)
        return Endpoints(settings, wire=self, fetch_token=self.fetch_token, context=context)


def scope(execution: Execution = Execution.AT_LEAST_ONCE, **handles: CallHandle) -> CallScope:
    return CallScope("job-1", "t", execution, handles=dict(handles))


def after(step: CallScope) -> CallScope:
    """The scope of the step that follows."""
    return scope(step.execution, **step.handles)


async def begun(endpoints: Endpoints, step: CallScope) -> CallPending:
    with pytest.raises(CallPending) as raised:
        await endpoints.invoke(CALL, step)
    return raised.value


async def test_a_call_is_begun_and_answered_by_the_deployment_that_began_it():
    cloud = Cloud()
    endpoints = cloud.endpoints("one", "two")
    cloud.places["one"].before = [always(reply(503))]
    first = scope()
    assert (await begun(endpoints, first)).handle.startswith("batch-two/")
    assert outcomes(first) == [("batch-one", "failed"), ("batch-two", "pending")]

    second = after(first)
    await begun(endpoints, second)
    assert outcomes(second) == [], "another look is no attempt"

    cloud.places["two"].all_are("Completed")
    last = after(second)
    answer = await endpoints.invoke(CALL, last)
    assert answer.attempt.deployment == "batch-two"
    assert isinstance(answer.body, dict)
    assert answer.body["status"] == "Completed"
    assert outcomes(last) == [("batch-two", "answered")]
    assert len(cloud.places["two"].submitted) == 1
    assert cloud.places["one"].looks == 0
    assert sum(record.attempt.usage.requests for record in cloud.metered) == 1


async def test_a_look_goes_to_a_deployment_that_takes_no_calls():
    cloud = Cloud()
    endpoints = cloud.endpoints("one", max_concurrency=1, requests_per_minute=1)
    first = scope()
    await begun(endpoints, first)
    other = ModelCall("churn", Task.SCORE, {"inputs": {"mode": "other"}})
    with pytest.raises(NoCapacity):
        await endpoints.invoke(other, scope())
    cloud.places["one"].all_are("Completed")
    assert (await endpoints.invoke(CALL, after(first))).body


async def test_a_begun_call_leaves_its_slot():
    cloud = Cloud()
    endpoints = cloud.endpoints("one", max_concurrency=1)
    for n in range(3):
        await begun(endpoints, CallScope(f"job-{n}", "t"))
    [status] = endpoints.statuses()
    assert (status.in_flight, status.state) == (0, "ready")


async def test_what_failed_is_left_to_a_later_step_which_counts_as_a_retry():
    cloud = Cloud()
    endpoints = cloud.endpoints("one", "two")
    first = scope()
    await begun(endpoints, first)
    cloud.places["one"].all_are("Failed")
    second = after(first)
    with pytest.raises(CallFailed, match="the batch job failed"):
        await endpoints.invoke(CALL, second)
    assert len(cloud.places["one"].submitted) == 1
    await begun(endpoints, after(second))
    assert len(cloud.places["one"].submitted) == 2


async def test_what_failed_is_never_begun_again_for_at_most_once():
    cloud = Cloud()
    endpoints = cloud.endpoints("one")
    first = scope(Execution.AT_MOST_ONCE)
    await begun(endpoints, first)
    cloud.places["one"].all_are("Failed")
    with pytest.raises(OutcomeUnknown):
        await endpoints.invoke(CALL, after(first))


async def test_what_is_lost_on_its_way_goes_to_no_other_deployment():
    cloud = Cloud()
    endpoints = cloud.endpoints("one", "two")
    cloud.places["one"].after = [always(LOST)]
    first = scope()
    await begun(endpoints, first)
    assert outcomes(first) == [("batch-one", "unknown")]
    await begun(endpoints, after(first))
    assert cloud.places["two"].submitted == []


async def test_a_deployment_that_is_no_longer_there_gives_no_answer():
    cloud = Cloud()
    first = scope()
    await begun(cloud.endpoints("one"), first)
    with pytest.raises(CallGivenUp, match=r"batch-one, which had the call, is no longer in"):
        await cloud.endpoints("two").invoke(CALL, after(first))


async def test_too_large_a_request_is_not_begun():
    cloud = Cloud()
    endpoints = cloud.endpoints("one", max_request_bytes=10)
    with pytest.raises(PayloadTooLarge):
        await endpoints.invoke(CALL, scope())
    assert cloud.sent == []


# Credentials.


async def test_a_token_goes_with_each_request():
    cloud = Cloud()
    endpoints = cloud.endpoints("one", auth=IDENTITY)
    first = scope()
    await begun(endpoints, first)
    [(_, _, headers)] = cloud.sent
    assert headers["authorization"] == "Bearer token 1 of https://ml.azure.com/.default"
    assert headers["x-ms-client-request-id"] == first.attempts[0].request_id


class Renewable:
    """A credential whose first secret is no longer good."""

    async def secret(self, within: float) -> str:
        return "old"

    async def renewed(self, refused: str, within: float) -> str | None:
        return "new" if refused == "old" else None


async def test_a_refused_token_is_renewed_once_and_the_request_made_again():
    cloud = Cloud()
    settings = AmlBatchSettings.model_validate(
        {"name": "batch-one", "protocol": "aml_batch", "url": "https://one/jobs"}
    )
    deployment = LongDeployment("churn", settings, Renewable(), cloud, Context())
    cloud.places["one"].before = [always(reply(401))]
    [handle] = handles("begun").values()
    cloud.places["one"].jobs["job-0"] = "Completed"
    assert await long_running.check_at(deployment.place(), handle) is None
    sent = [headers["authorization"] for _, _, headers in cloud.sent]
    assert sent == ["Bearer old", "Bearer new"]


async def test_a_refused_token_that_is_young_is_the_operators_matter():
    cloud = Cloud()
    endpoints = cloud.endpoints("one", auth=IDENTITY)
    cloud.places["one"].before = [always(reply(401))]
    with pytest.raises(EndpointUnusable):
        await endpoints.invoke(CALL, scope())
    assert cloud.tokens == ["https://ml.azure.com/.default"]


async def test_without_a_token_a_look_finds_nothing_and_a_call_is_not_begun():
    cloud = Cloud(no_token=True)
    endpoints = cloud.endpoints("one", auth=IDENTITY)
    with pytest.raises(CallFailed, match="no token"):
        await endpoints.invoke(CALL, scope())
    handle = CallHandle(deployment="batch-one", name="n", state="begun", sent_at=NOON)
    with pytest.raises(CallPending):
        await endpoints.look({"k": handle})
    assert cloud.sent == []


# Looking before the flow runs.


def handles(*states: str, deployment: str = "batch-one") -> dict[str, CallHandle]:
    return {
        f"k{n}": CallHandle.model_validate(
            {"deployment": deployment, "name": f"job-{n}", "state": state, "sent_at": NOON}
        )
        for n, state in enumerate(states)
    }


@pytest.mark.parametrize(
    ("states", "statuses", "goes_on"),
    [
        (["begun"], ["Running"], True),
        (["begun", "sent"], ["Running", "Queued"], True),
        (["answered", "begun"], [None, "Running"], True),
        (["begun", "begun"], ["Running", "Completed"], False),
        (["begun"], ["Failed"], False),
        (["begun"], [None], False),
        (["answered", "failed"], [None, None], False),
        ([], [], False),
    ],
)
async def test_a_flow_is_not_run_while_all_that_is_open_goes_on(states, statuses, goes_on):
    cloud = Cloud()
    told = {f"job-{n}": status for n, status in enumerate(statuses) if status is not None}
    cloud.places["one"].jobs = told
    looked = cloud.endpoints("one").look(handles(*states))
    if goes_on:
        with pytest.raises(CallPending) as raised:
            await looked
        assert (raised.value.check_at - NOON).total_seconds() == 30
    else:
        await looked


async def test_an_unknown_deployment_is_left_to_the_call_itself():
    await Cloud().endpoints("one").look(handles("begun", deployment="batch-gone"))


# Cancelling.


async def test_cancelling_takes_a_token_of_resource_manager():
    cloud = Cloud()
    endpoints = cloud.endpoints("one", auth=IDENTITY)
    await endpoints.cancel(handles("begun", "answered", "sent", "failed"))
    assert sorted(cloud.places["one"].cancelled) == ["job-0", "job-2"]
    for method, url, headers in cloud.sent:
        assert method == "POST"
        assert url.startswith(f"https://management.azure.com{WORKSPACE}/jobs/job-")
        assert headers["authorization"].endswith(" of https://management.azure.com/.default")
    assert cloud.tokens == ["https://management.azure.com/.default"]


async def test_what_could_not_be_told_is_told_again():
    cloud = Cloud()
    endpoints = cloud.endpoints("one")
    cloud.places["one"].before = [always(REFUSED)]
    with pytest.raises(DependencyUnavailable):
        await endpoints.cancel(handles("begun"))
    await endpoints.cancel(handles("begun"))
    assert cloud.places["one"].cancelled == ["job-0"]


@pytest.mark.parametrize("field", ["hedge_after_seconds: 1", "mirror: {to: b, percent: 1}"])
def test_long_calls_are_neither_hedged_nor_mirrored(field, tmp_path):
    file = tmp_path / "deployments.yaml"
    file.write_text(
        "models:\n  churn:\n    deployments:\n"
        "      - {name: b, protocol: aml_batch, url: https://e/jobs}\n"
        f"    {field}\n"
    )
    with pytest.raises(SettingsError, match="no hedge_after_seconds and no mirror"):
        load(file, {})
