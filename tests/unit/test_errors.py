"""One mapping of errors to HTTP, to Service Bus and to retries."""

from datetime import UTC, datetime
from http import HTTPStatus

import pytest

from contracts import errors
from contracts.errors import InvalidRequest, NoCapacity, Retry, Settle, SluiceError
from contracts.problems import FieldProblem


def family(root: type[SluiceError] = SluiceError) -> list[type[SluiceError]]:
    return [root, *(found for child in root.__subclasses__() for found in family(child))]


@pytest.mark.parametrize("error", family(), ids=lambda error: error.__name__)
def test_every_error_of_the_family_is_in_the_drawing_of_the_module(error):
    assert errors.__doc__ is not None
    assert f" {error.__name__} " in errors.__doc__.replace("\n", " ")


@pytest.mark.parametrize("error", family(errors.CallerError), ids=lambda error: error.__name__)
def test_what_the_caller_did_wrong_is_4xx_never_retried_and_rejected(error):
    assert 400 <= error.status < 500
    assert error.retry is Retry.NEVER
    assert error.settle is Settle.REJECT


def test_codes_are_unique_but_for_a_parent_and_its_plain_child():
    codes: dict[str, type[SluiceError]] = {}
    for error in family():
        known = codes.setdefault(error.code, error)
        assert issubclass(error, known)


def test_a_problem_names_the_fields_at_fault():
    problem = InvalidRequest(
        "`input.text` is not as expected: a text.",
        [FieldProblem(field="input.text", expected="a text")],
    ).problem("/v1/jobs")

    assert problem.model_dump(exclude_none=True) == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "code": "invalid_request",
        "detail": "`input.text` is not as expected: a text.",
        "instance": "/v1/jobs",
        "errors": [{"field": "input.text", "expected": "a text"}],
    }


def test_no_capacity_says_from_when_there_is_some():
    at = datetime(2030, 1, 1, tzinfo=UTC)
    error = NoCapacity("All throttle.", retry_at=at)

    assert error.retry_at == at
    assert error.status is HTTPStatus.TOO_MANY_REQUESTS
    assert error.retry is Retry.WHEN_CAPACITY


def test_a_call_that_goes_on_says_what_and_until_when():
    at = datetime(2030, 1, 1, tzinfo=UTC)
    error = errors.CallPending("batch-1/sluice-2", check_at=at)

    assert (error.handle, error.check_at) == ("batch-1/sluice-2", at)
    assert "batch-1/sluice-2" in error.detail
    assert error.retry is Retry.WHEN_DUE


def test_what_was_given_up_is_a_failure_that_is_never_retried():
    error = errors.CallGivenUp("It was cancelled.")
    assert isinstance(error, errors.CallFailed)
    assert (error.code, error.retry) == (errors.CallFailed.code, Retry.NEVER)
