"""Requests as callers write them, ids, and the ticket that is carried over waits."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.calls import Attempt, CallHandle, Usage
from contracts.ids import is_job_id, new_job_id
from contracts.jobs import ATTEMPTS_KEPT, JobRequest, JobStep, JobTicket

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


def request(**fields) -> JobRequest:
    return JobRequest.model_validate({"flow": "embed", "input": {}} | fields)


@pytest.mark.parametrize(
    ("deadline", "at"),
    [
        ("PT10M", NOW + timedelta(minutes=10)),
        ("P1DT2H", NOW + timedelta(days=1, hours=2)),
        ("2030-01-01T15:00:00+02:00", NOW + timedelta(hours=1)),
        (None, None),
    ],
)
def test_a_deadline_is_a_duration_from_now_or_a_time(deadline, at):
    assert request(deadline=deadline).deadline_after(NOW) == at


@pytest.mark.parametrize("deadline", [10, 1.5, "soon", "", "2030-01-01T12:00:00", [], True])
def test_a_deadline_of_another_kind_is_refused_with_an_example(deadline):
    with pytest.raises(ValidationError, match="an ISO 8601 duration such as PT10M"):
        request(deadline=deadline)


@pytest.mark.parametrize(
    "fields",
    [
        {"flow": ""},
        {"input": "text"},
        {"priority": "urgent"},
        {"execution": "exactly_once"},
        {"metadata": {str(n): "" for n in range(17)}},
        {"metadata": {"k": "v" * 513}},
        {"metadata": {"k": 1}},
        {"extra": 1},
    ],
)
def test_fields_of_the_wrong_kind_are_refused(fields):
    with pytest.raises(ValidationError):
        request(**fields)


def test_a_request_survives_storage():
    asked = request(deadline="PT1H", metadata={"a": "b"}, execution="at_most_once")
    assert JobRequest.model_validate_json(asked.model_dump_json()) == asked


@given(
    st.lists(
        st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(3000, 1, 1)), min_size=2
    )
)
def test_ids_sort_newest_first(times):
    times = sorted({t.replace(microsecond=t.microsecond // 1000 * 1000) for t in times})
    ids = [new_job_id(t.replace(tzinfo=UTC)) for t in times]
    assert sorted(ids) == ids[::-1]
    assert all(map(is_job_id, ids))


@pytest.mark.parametrize("text", ["", "job_", "../secrets", "job_" + "0" * 34 + "/x", "JOB_1"])
def test_what_no_job_can_be_called_is_not_an_id(text):
    assert not is_job_id(text)


def attempt(n: int) -> Attempt:
    return Attempt(
        model="embed",
        deployment="d",
        outcome="throttled",
        status=429,
        started_at=NOW,
        seconds=0.5,
        request_id=str(n),
        usage=Usage(requests=1),
    )


def step(attempts: list[Attempt], wait_for=None) -> JobStep:
    return JobStep(started_at=NOW, flow_seconds=2.0, attempts=attempts, wait_for=wait_for)


def test_a_ticket_sums_its_steps_and_keeps_the_last_attempts():
    ticket = JobTicket(id="j", tenant="t", started_at=None)
    for n in range(ATTEMPTS_KEPT + 10):
        ticket = ticket.after(step([attempt(n)], wait_for="capacity"))

    assert ticket.attempts_made == ATTEMPTS_KEPT + 10
    assert [a.request_id for a in ticket.attempts] == [
        str(n) for n in range(10, ATTEMPTS_KEPT + 10)
    ]
    assert ticket.flow_seconds == 2.0 * (ATTEMPTS_KEPT + 10)
    assert ticket.started_at == NOW
    assert ticket.retries == 0


def test_only_waits_after_a_failure_count_as_retries():
    ticket = JobTicket(id="j", tenant="t").after(step([], "retry")).after(step([], "capacity"))
    assert (ticket.step, ticket.retries) == (2, 1)
    assert ticket.after(step([])).step == 2, "a step that ends the job is followed by none"


def handle(state: str) -> CallHandle:
    return CallHandle.model_validate(
        {"deployment": "batch", "name": "n", "state": state, "sent_at": NOW}
    )


def test_a_ticket_carries_what_models_work_on_from_step_to_step():
    ticket = JobTicket(id="j", tenant="t", handles={"a": handle("begun"), "b": handle("sent")})
    waits = JobStep(
        started_at=NOW,
        flow_seconds=0.1,
        attempts=[],
        wait_for="model",
        wait_until=NOW,
        handles={"a": handle("answered")},
    )
    after = ticket.after(JobStep.model_validate_json(waits.model_dump_json()))
    assert after.handles == {"a": handle("answered")}
    assert (after.step, after.retries) == (1, 0)
    assert JobTicket.model_validate_json(after.model_dump_json()) == after


def test_a_ticket_of_before_there_were_handles_can_be_read():
    assert JobTicket.model_validate({"id": "j", "tenant": "t"}).handles == {}


@pytest.mark.parametrize(
    ("state", "is_open", "held"),
    [
        ("sent", True, True),
        ("begun", True, True),
        ("answered", False, True),
        ("lost", False, False),
        ("failed", False, False),
    ],
)
def test_a_handle_is_open_while_a_model_may_work_on_it(state, is_open, held):
    assert (handle(state).open, handle(state).held) == (is_open, held)
