"""A call that outlasts a step: it is begun once, looked at until it ends, and given up never twice.

Each step gets the handles of the one before, as the job's ticket carries them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from contracts.calls import CallHandle, CallScope, ModelCall, Task
from contracts.errors import CallGivenUp, CallPending, FlowFailed, InvalidRequest
from contracts.states import Execution
from endpoints import long_running
from endpoints.long_running import MOST_HANDLES, Advance, Place
from endpoints.protocols.aml_batch import AmlBatch, AmlBatchSettings
from tests.unit.batch_fakes import LOST, REFUSED, BatchEndpoint, always, nothing
from tests.unit.endpoints_fakes import NOON, reply

CHECK_SECONDS = 30
INPUTS = {"data": {"type": "uri_folder", "path": "azureml://in/"}}
CALL = ModelCall("churn", Task.SCORE, {"inputs": INPUTS})
ONCE, OFTEN = Execution.AT_MOST_ONCE, Execution.AT_LEAST_ONCE


def aml_batch(**fields: object) -> AmlBatch:
    given = {
        "name": "batch-1",
        "protocol": "aml_batch",
        "url": "https://e.westeurope.inference.ml.azure.com/jobs",
        "check_seconds": CHECK_SECONDS,
        "longest_hours": 2,
        "workspace": "/subscriptions/s/resourceGroups/g"
        "/providers/Microsoft.MachineLearningServices/workspaces/w",
        **fields,
    }
    return AmlBatch(AmlBatchSettings.model_validate(given))


@dataclass
class Job:
    """One job's steps: what they leave behind is what the next begins with."""

    endpoint: BatchEndpoint = field(default_factory=BatchEndpoint)
    execution: Execution = OFTEN
    handles: dict[str, CallHandle] = field(default_factory=dict)
    protocol: AmlBatch = field(default_factory=aml_batch)
    seconds: float = 0.0

    def place(self) -> Place:
        now = NOON + timedelta(seconds=self.seconds)
        return Place("batch-1", self.protocol, self.endpoint.exchange, lambda: now)

    def scope(self) -> CallScope:
        return CallScope("job-1", "t", self.execution, handles=dict(self.handles))

    async def step(self, *calls: ModelCall, crash: bool = False) -> Advance:
        """One run of a flow that makes these calls in turn, up to the first that is not answered.

        After a crash nothing is kept of what the step found out.
        """
        scope = self.scope()
        for call in calls or (CALL,):
            made = await long_running.advance(self.place(), call, long_running.keyed(call, scope))
            if made.verdict.outcome != "answered":
                break
        if not crash:
            self.handles = scope.handles
        self.seconds += CHECK_SECONDS
        return made

    @property
    def handle(self) -> CallHandle:
        [handle] = self.handles.values()
        return handle


def pending(made: Advance) -> bool:
    return isinstance(made.raises, CallPending)


async def test_a_call_is_begun_once_and_looked_at_until_it_is_answered():
    job = Job()
    first = await job.step()
    assert (first.verdict.outcome, first.status, first.news) == ("pending", 201, True)
    assert isinstance(first.raises, CallPending)
    assert first.raises.check_at == NOON + timedelta(seconds=CHECK_SECONDS)
    assert first.raises.handle == f"batch-1/{job.handle.name}"

    job.endpoint.all_are("Running")
    second = await job.step()
    assert pending(second)
    assert not second.news, "one more look is no attempt of the job's record"

    job.endpoint.all_are("Completed")
    last = await job.step()
    assert last.verdict.outcome == "answered"
    name = job.handle.name
    score = f"azureml://out/{name}/predictions.csv"
    assert last.body == {"job": name, "status": "Completed", "outputs": {"score": score}}
    assert (len(job.endpoint.submitted), job.endpoint.looks) == (1, 2)
    assert [made.usage.requests for made in (first, second, last)] == [1, 0, 0]


@pytest.mark.parametrize("status", ["Completed", "completed", "Succeeded"])
async def test_an_answered_call_is_answered_again_when_the_flow_runs_again(status):
    job = Job()
    second = ModelCall("churn", Task.SCORE, {"inputs": {**INPUTS, "mode": "again"}})
    await job.step(CALL, second)
    job.endpoint.all_are(status)
    await job.step(CALL, second)
    assert len(job.endpoint.submitted) == 2, "the second call is begun once the first is answered"
    job.endpoint.all_are(status)
    made = await job.step(CALL, second)
    assert made.verdict.outcome == "answered"
    assert len(job.endpoint.submitted) == 2
    assert {handle.state for handle in job.handles.values()} == {"answered"}


async def test_the_same_call_made_twice_in_a_flow_is_two_calls():
    job = Job()
    await job.step(CALL, CALL)
    job.endpoint.all_are("Completed")
    await job.step(CALL, CALL)
    assert len(set(job.endpoint.jobs)) == 2


async def test_calls_differ_by_their_content_and_not_by_the_order_of_its_names():
    scope = CallScope("job-1", "t")
    calls = [
        ModelCall("m", Task.SCORE, {"a": 1, "b": [1, 2]}),
        ModelCall("m", Task.SCORE, {"b": [1, 2], "a": 1}),
        ModelCall("m", Task.SCORE, {"b": [2, 1], "a": 1}),
        ModelCall("n", Task.SCORE, {"a": 1, "b": [1, 2]}),
    ]
    keys = [str(long_running.keyed(call, scope).key).split("-") for call in calls]
    assert keys[0][0] == keys[1][0]
    assert [nth for _, nth in keys] == ["0", "1", "0", "0"]
    assert len({content for content, _ in keys}) == 3


async def test_jobs_never_share_what_they_begin():
    endpoint = BatchEndpoint()
    scopes = [CallScope(f"job-{n}", "t") for n in range(2)]
    for scope in scopes:
        place = Job(endpoint).place()
        await long_running.advance(place, CALL, long_running.keyed(CALL, scope))
    assert len(endpoint.jobs) == 2


# Crashes and lost replies.


async def test_a_step_that_dies_after_its_submission_finds_it_by_its_name():
    job = Job()
    await job.step(crash=True)
    again = await job.step()
    assert pending(again)
    assert len(job.endpoint.submitted) == 1
    assert job.handle.state == "begun"


async def test_where_names_are_not_honoured_a_crash_may_begin_a_call_twice():
    job = Job(BatchEndpoint(honours_names=False))
    await job.step(crash=True)
    await job.step()
    assert len(job.endpoint.submitted) == 2
    assert job.handle.name == "job-1", "the name that the deployment gave is the one it knows"


@pytest.mark.parametrize("execution", [ONCE, OFTEN])
@pytest.mark.parametrize("trouble", [LOST, reply(408), reply(201, {"no": "name"})])
async def test_a_submission_of_unknown_outcome_is_looked_for_before_anything_else(
    execution, trouble
):
    job = Job(execution=execution)
    job.endpoint.after = [always(trouble)]
    first = await job.step()
    assert (first.verdict.outcome, first.verdict.may_have_run) == ("unknown", True)
    assert pending(first)
    assert job.handle.state == "sent"

    assert pending(await job.step())
    assert job.handle.state == "begun"
    assert len(job.endpoint.submitted) == 1


@pytest.mark.parametrize("execution", [ONCE, OFTEN])
async def test_a_submission_that_is_not_found_is_an_unknown_outcome(execution):
    job = Job(execution=execution)
    job.endpoint.before = [always(LOST)]
    await job.step()
    again = await job.step()
    assert (again.verdict.outcome, again.verdict.may_have_run) == ("unknown", True)
    assert again.raises is None, "to make it again is a retry, and those are counted"
    assert job.endpoint.submitted == []
    assert long_running.holder(long_running.keyed(CALL, job.scope())) is None


async def test_a_retry_makes_a_lost_submission_again_under_its_name():
    job = Job()
    await job.step()
    job.endpoint.all_are("Failed")
    await job.step()
    job.endpoint.before = [always(LOST)]
    await job.step()
    lost = job.handle.name
    await job.step()
    assert job.handle.state == "lost"
    assert pending(await job.step())
    assert (job.handle.name, job.handle.state) == (lost, "begun")
    assert len(job.endpoint.jobs) == 2


async def test_a_name_that_is_taken_and_not_to_be_seen_is_looked_for_later():
    job = Job()
    await job.step(crash=True)
    job.endpoint.before = [nothing, always(reply(404))]
    assert pending(await job.step())
    assert job.handle.state == "sent"
    assert pending(await job.step())
    assert job.handle.state == "begun"
    assert len(job.endpoint.submitted) == 1


async def test_a_5xx_to_a_submission_is_a_failure_or_for_at_most_once_a_doubt():
    often, once = Job(), Job(execution=ONCE)
    for job in (often, once):
        job.endpoint.after = [always(reply(503))]
        job.made = await job.step()
    assert (often.made.verdict.outcome, often.made.raises) == ("failed", None)
    assert often.handles == {}
    assert pending(once.made)
    assert once.handle.state == "sent"
    assert pending(await often.step())
    assert len(often.endpoint.submitted) == 1, "the next try finds what the 5xx had begun"


@pytest.mark.parametrize(
    ("trouble", "outcome"),
    [
        (REFUSED, "not_connected"),
        (reply(429, retry_after="7"), "throttled"),
        (reply(403), "unusable"),
        (reply(400, {"error": {"code": "UserError"}}), "rejected"),
    ],
)
async def test_what_is_refused_leaves_nothing_behind(trouble, outcome):
    job = Job()
    job.endpoint.before = [always(trouble)]
    made = await job.step()
    assert (made.verdict.outcome, made.raises) == (outcome, None)
    assert job.handles == {}


async def test_what_is_refused_again_is_still_what_had_failed_before():
    job = Job()
    await job.step()
    job.endpoint.all_are("Failed")
    await job.step()
    failed = job.handle
    job.endpoint.before = [always(reply(429))]
    assert (await job.step()).verdict.outcome == "throttled"
    assert job.handle == failed


async def test_a_step_that_is_stopped_while_it_submits_leaves_what_may_have_begun():
    job = Job()

    def stop(request):
        raise asyncio.CancelledError

    scope = job.scope()
    job.endpoint.after = [stop]
    with pytest.raises(asyncio.CancelledError):
        await long_running.advance(job.place(), CALL, long_running.keyed(CALL, scope))
    [handle] = scope.handles.values()
    assert (handle.state, handle.open) == ("sent", True)
    assert [handle.name] == list(job.endpoint.jobs)


async def test_a_payload_that_cannot_be_carried_is_refused_before_anything_is_sent():
    job = Job()
    with pytest.raises(InvalidRequest):
        await job.step(ModelCall("churn", Task.SCORE, {"inputs": []}))
    assert (job.endpoint.looks, job.handles) == (0, {})


# Looks.


@pytest.mark.parametrize(
    "trouble", [REFUSED, LOST, reply(500), reply(503), reply(408), reply(200, "?"), reply(200, {})]
)
async def test_a_look_that_fails_says_nothing_of_the_work(trouble):
    job = Job()
    await job.step()
    job.endpoint.before = [always(trouble)]
    made = await job.step()
    assert pending(made)
    assert job.handle.state == "begun"
    job.endpoint.all_are("Completed")
    assert (await job.step()).verdict.outcome == "answered"


async def test_a_throttled_look_is_repeated_when_it_may_be():
    job = Job()
    await job.step()
    job.endpoint.before = [always(reply(429, retry_after="100"))]
    made = await job.step()
    assert isinstance(made.raises, CallPending)
    assert made.raises.check_at == NOON + timedelta(seconds=CHECK_SECONDS + 100)


async def test_a_look_that_is_refused_ends_the_call_as_any_other():
    job = Job()
    await job.step()
    job.endpoint.before = [always(reply(403))]
    made = await job.step()
    assert (made.verdict.outcome, made.status, made.raises) == ("unusable", 403, None)


# Endings.


async def test_what_failed_is_begun_anew_under_another_name():
    job = Job()
    await job.step()
    first = job.handle.name
    job.endpoint.all_are("Failed")
    failed = await job.step()
    assert (failed.verdict.outcome, failed.verdict.may_have_run) == ("failed", True)
    assert failed.raises is None
    assert "the batch job failed" in str(failed.verdict.reason)

    assert pending(await job.step())
    assert job.handle.name != first
    assert len(job.endpoint.submitted) == 2
    assert long_running.holder(long_running.keyed(CALL, job.scope())) == "batch-1"


async def test_what_failed_holds_no_deployment():
    job = Job()
    await job.step()
    job.endpoint.all_are("Failed")
    await job.step()
    assert long_running.holder(long_running.keyed(CALL, job.scope())) is None


async def test_what_is_gone_has_failed():
    job = Job()
    await job.step()
    job.endpoint.jobs.clear()
    made = await job.step()
    assert (made.verdict.outcome, made.status) == ("failed", 404)
    assert "not found" in str(made.verdict.reason)


@pytest.mark.parametrize("status", ["Canceled", "Cancelled", "canceled"])
async def test_what_somebody_cancelled_is_never_begun_anew(status):
    job = Job()
    await job.step()
    job.endpoint.all_are(status)
    made = await job.step()
    assert isinstance(made.raises, CallGivenUp)
    assert "was cancelled" in made.raises.detail


async def test_what_takes_too_long_is_given_up_and_still_open_to_be_cancelled():
    job = Job()
    await job.step()
    job.seconds = 2 * 3600 + 1
    made = await job.step()
    assert isinstance(made.raises, CallGivenUp)
    assert "not ended after 2:00:00" in made.raises.detail
    assert job.handle.open


async def test_what_ended_in_time_is_answered_however_late_it_is_asked_for():
    job = Job()
    await job.step()
    job.endpoint.all_are("Completed")
    job.seconds = 100 * 3600
    assert (await job.step()).verdict.outcome == "answered"


async def test_a_job_may_have_only_so_many_calls():
    job = Job()
    handle = CallHandle(deployment="batch-1", name="n", state="answered", sent_at=NOON)
    job.handles = {str(n): handle for n in range(MOST_HANDLES)}
    with pytest.raises(FlowFailed):
        await job.step()
    assert job.endpoint.submitted == []


async def test_no_word_of_the_endpoints_own_leaves_with_a_reason():
    job = Job()
    await job.step()
    told = reply(200, {"name": "n", "properties": {"status": "Failed", "error": "a secret prompt"}})
    job.endpoint.before = [always(told)]
    made = await job.step()
    assert "secret" not in str(made)


# Looking before a flow runs, and cancelling.


async def test_before_a_flow_runs_it_is_asked_whether_it_would_come_any_further():
    job = Job()
    await job.step()
    assert await long_running.check_at(job.place(), job.handle) == NOON + timedelta(
        seconds=2 * CHECK_SECONDS
    )
    for status in ("Completed", "Failed", "Canceled"):
        job.endpoint.all_are(status)
        assert await long_running.check_at(job.place(), job.handle) is None
    job.endpoint.all_are("Running")
    job.seconds = 3 * 3600
    assert await long_running.check_at(job.place(), job.handle) is None


async def test_what_is_under_way_can_be_cancelled():
    job = Job()
    await job.step()
    assert await long_running.cancel(job.place(), job.handle)
    assert job.endpoint.cancelled == [job.handle.name]


@pytest.mark.parametrize("trouble", [REFUSED, LOST, reply(503), reply(429)])
async def test_a_cancelling_that_did_not_get_through_is_to_be_tried_again(trouble):
    job = Job()
    await job.step()
    job.endpoint.before = [always(trouble)]
    assert not await long_running.cancel(job.place(), job.handle)


@pytest.mark.parametrize("trouble", [reply(404), reply(403), reply(409)])
async def test_a_cancelling_that_is_refused_is_an_operators_to_read(trouble, caplog):
    job = Job()
    await job.step()
    job.endpoint.before = [always(trouble)]
    assert await long_running.cancel(job.place(), job.handle)
    assert f"HTTP {trouble.status}" in caplog.text


async def test_without_a_workspace_nothing_is_cancelled_and_the_log_says_so(caplog):
    job = Job(protocol=aml_batch(workspace=None))
    await job.step()
    assert await long_running.cancel(job.place(), job.handle)
    assert job.endpoint.cancelled == []
    assert "goes on" in caplog.text


class Steps(RuleBasedStateMachine):
    """Whatever happens on the way: steps crash, requests and replies get lost, jobs end.

    An endpoint that honours names never works on a call twice at a time, and never refuses it for
    its own sake; at most once is at most once, also where names are not honoured.
    """

    def __init__(self) -> None:
        super().__init__()
        self.jobs = [
            Job(BatchEndpoint(honours_names=honours), execution)
            for honours in (True, False)
            for execution in Execution
        ]

    def _run(self, job: Job, *, crash: bool) -> None:
        step = job.step(crash=crash)
        with pytest.raises(StopIteration) as ended:
            step.send(None)
        made = ended.value.value
        assert made.verdict.outcome != "rejected"
        in_doubt = made.raises is None and made.verdict.may_have_run
        if job.execution is ONCE and (crash or in_doubt):
            self.jobs.remove(job)  # as run_job does: it repeats neither such a step nor a doubt

    @rule(
        crash=st.booleans(),
        trouble=st.sampled_from([nothing, always(LOST), always(reply(503)), always(REFUSED)]),
        arrives=st.booleans(),
    )
    def step(self, crash, trouble, arrives) -> None:
        arrives = arrives and trouble(None) is not REFUSED
        for job in list(self.jobs):
            job.endpoint.before = [] if arrives else [trouble]
            job.endpoint.after = [trouble] if arrives else []
            self._run(job, crash=crash)

    @rule(status=st.sampled_from(["Running", "Completed", "Failed"]))
    def ends(self, status) -> None:
        for job in self.jobs:
            for name, now in job.endpoint.jobs.items():
                if now in ("NotStarted", "Running"):
                    job.endpoint.jobs[name] = status

    @invariant()
    def one_at_a_time(self) -> None:
        for job in self.jobs:
            going = [s for s in job.endpoint.jobs.values() if s in ("NotStarted", "Running")]
            assert len(going) <= 1 or not job.endpoint.honours_names

    @invariant()
    def at_most_once(self) -> None:
        for job in self.jobs:
            assert len(job.endpoint.submitted) <= 1 or job.execution is OFTEN


TestSteps = Steps.TestCase


@given(st.text(max_size=30), st.integers(0, 9))
def test_a_name_is_always_one_that_the_service_takes(job_id, nth):
    scope = CallScope(job_id, "t", key=f"{'0' * 32}-{nth}")
    name = long_running._Call(Job().place(), CALL, scope)._next_name(None)
    assert name.replace("-", "").isalnum()
    assert len(name) < 64
