"""Who used what, and what it cost: `/v1/usage`."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus

import azure.durable_functions as df
import azure.functions as func
from starlette.responses import Response

import wiring
from contracts.errors import InvalidRequest, Misconfigured
from contracts.identity import Identity, Role
from contracts.problems import FieldProblem
from contracts.usage import Grouping, UsageReport
from ledger.focus import to_csv
from ledger.query import Books, Question
from triggers.door import door, json_response
from triggers.http import Request
from triggers.operation import CSV_MEDIA_TYPE, Operation, Parameter, operation

bp = df.Blueprint()

LONGEST = timedelta(days=366)
OWN_USAGE_SECONDS = 2.0
"""How long a question waits for what this worker has used to be in storage."""
_EARLIEST = date(2000, 1, 1)
_GROUPINGS = ", ".join(Grouping)
_SEES_ALL = frozenset({Role.BILL, Role.OPERATE})
_DAY = {"type": "string", "format": "date", "examples": ["2030-01-31"]}


@operation(
    Operation(
        method="GET",
        path="/v1/usage",
        role=Role.READ,
        summary="Usage and its cost, by groups. All tenants' for the roles `bill` and `operate`.",
        parameters=(
            Parameter("from", "query", "The first day (UTC); by default the month's first.", _DAY),
            Parameter(
                "to",
                "query",
                f"The first day that is left out, at most {LONGEST.days} days later; by default"
                " tomorrow.",
                _DAY,
            ),
            Parameter(
                "group_by",
                "query",
                f"Any of {_GROUPINGS}, separated by commas; without, all is one group.",
                {"type": "string", "examples": ["tenant,model"]},
            ),
            Parameter(
                "format",
                "query",
                "`csv` for FOCUS columns; so does `Accept: text/csv`.",
                {"type": "string", "enum": ["json", "csv"]},
            ),
        ),
        responses={HTTPStatus.OK: UsageReport},
        csv=True,
        problems=(HTTPStatus.BAD_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE),
    )
)
@bp.function_name("get_usage")
@bp.route("v1/usage", methods=["GET"])
@door(Role.READ)
async def get_usage(req: Request) -> Response:
    """The report."""
    parts = wiring.parts()
    question = _question(req)
    as_csv = _as_csv(req)
    if parts.ledger is not None:
        parts.ledger.begin()
        await parts.ledger.shipped(OWN_USAGE_SECONDS)
    report = await _books(parts.books).report(question)
    if as_csv:
        return Response(to_csv(report), media_type=CSV_MEDIA_TYPE)
    return json_response(report)


@bp.function_name("sum_up_usage")
@bp.timer_trigger(arg_name="timer", schedule="0 7 * * * *")
async def sum_up_usage(timer: func.TimerRequest) -> None:
    """Each hour, so that a question about a month is quick."""
    await _books(wiring.parts().books).roll_up()


def _books(books: Books | None) -> Books:
    if books is None:
        raise Misconfigured("This app keeps no ledger.")
    return books


def visible(identity: Identity) -> str | None:
    """Whose usage the caller may see; None: everybody's."""
    return None if identity.roles & _SEES_ALL else identity.tenant


def _question(req: Request) -> Question:
    today = datetime.now(UTC).date()
    until = _day(req, "to") or today + timedelta(days=1)
    since = _day(req, "from") or (until - timedelta(days=1)).replace(day=1)
    if since >= until:
        raise _wrong("from", f"a day before `to`, {until}")
    if until - since > LONGEST:
        raise _wrong("from", f"a day at most {LONGEST.days} days before `to`")
    return Question(since, until, _group_by(req), visible(req.identity))


def _day(req: Request, name: str) -> date | None:
    text = req.query.get(name)
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or len(text) != len("2030-01-31") or day <= _EARLIEST:
        raise _wrong(name, f"a day such as 2030-01-31 (UTC), after {_EARLIEST}")
    return day


def _group_by(req: Request) -> tuple[Grouping, ...]:
    names = [name.strip() for name in (req.query.get("group_by") or "").split(",")]
    try:
        return tuple(dict.fromkeys(Grouping(name) for name in names if name))
    except ValueError:
        raise _wrong("group_by", f"any of {_GROUPINGS}, separated by commas") from None


def _as_csv(req: Request) -> bool:
    wanted = req.query.get("format")
    if wanted is None:
        accepted = [part.partition(";")[0].strip() for part in _accept(req).split(",")]
        return CSV_MEDIA_TYPE in accepted
    if wanted not in ("json", "csv"):
        raise _wrong("format", "json or csv")
    return wanted == "csv"


def _accept(req: Request) -> str:
    return (req.headers.get("Accept") or "").lower()


def _wrong(field: str, expected: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{field}` is not as expected: {expected}.", [FieldProblem(field=field, expected=expected)]
    )
