"""ISO 8601 durations, as far as the emulator's schema allows them and they have one length."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from devhost.service_bus.core.settings import HOUR, MINUTE

DAY = 24 * HOUR
_DURATION = re.compile(
    r"P(?!$)(?:(?P<days>\d{1,8})D)?(?:T(?=\d)"
    r"(?:(?P<hours>\d{1,9})H)?(?:(?P<minutes>\d{1,9})M)?(?:(?P<seconds>\d{1,9})S)?)?",
    re.ASCII,
)


def milliseconds(duration: object) -> int:
    """'PT1M' as 60000. Raises ValueError; years and months have no one length and are refused."""
    match = _DURATION.fullmatch(duration) if isinstance(duration, str) else None
    if match is None:
        raise ValueError(
            f"{duration!r} is not an ISO 8601 duration of days, hours, minutes and seconds,"
            " such as 'PT1M'"
        )
    days, hours, minutes, seconds = (int(number or 0) for number in match.groups())
    return days * DAY + hours * HOUR + minutes * MINUTE + seconds * 1000


def _up_to(longest: str) -> AfterValidator:
    limit = milliseconds(longest)

    def check(value: int) -> int:
        if not 0 < value <= limit:
            raise ValueError(f"expected a duration longer than nothing, up to {longest}")
        return value

    return AfterValidator(check)


# The longest that the service takes.
type LockTime = Annotated[int, BeforeValidator(milliseconds), _up_to("PT5M")]
type Window = Annotated[int, BeforeValidator(milliseconds), _up_to("P7D")]
type Lifetime = Annotated[int, BeforeValidator(milliseconds), _up_to("P10675199D")]
